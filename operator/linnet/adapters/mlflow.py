"""MLflow's tracking server and registry through its own client, in a small thread pool."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from linnet_trainer import contract
from mlflow import MlflowClient
from mlflow.entities import TraceState
from mlflow.entities.model_registry import ModelVersion
from mlflow.entities.trace_metrics import (
    AggregationType,
    MetricAggregation,
    MetricDataPoint,
    MetricViewType,
)
from mlflow.exceptions import MlflowException
from mlflow.tracing.client import TracingClient
from mlflow.tracing.constant import TraceMetadataKey, TraceMetricDimensionKey, TraceMetricKey

from linnet.core.registry import ModelView, RunView, Traces, VersionView
from linnet.ports import Missing, Rejected, Unavailable

T = TypeVar("T")

THREADS = 4
NEWEST_VERSIONS = 200
RETRIES = 3
_MISSING = frozenset({"RESOURCE_DOES_NOT_EXIST"})
_REFUSED = frozenset(
    {"INVALID_PARAMETER_VALUE", "PERMISSION_DENIED", "UNAUTHENTICATED", "RESOURCE_ALREADY_EXISTS"}
)


class MLflowRegistry:
    """The `ModelRegistry` port on a real MLflow."""

    def __init__(self, *, tracking_uri: str, registry_uri: str) -> None:
        self._client = MlflowClient(tracking_uri=tracking_uri, registry_uri=registry_uri)
        self._tracing = TracingClient(tracking_uri)
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="mlflow")
        self._artifacts: dict[tuple[str, str], str] = {}
        self.count: Callable[[str, str], None] = lambda method, outcome: None
        """Called with the method and outcome of every call; telemetry replaces it."""

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def model(self, name: str) -> ModelView:
        return await self._call("model", lambda: self._model(name))

    async def run(self, namespace: str, name: str, spec_hash: str) -> RunView | None:
        return await self._call("run", lambda: self._run(namespace, name, spec_hash))

    async def traces(self, run: RunView) -> Traces:
        return await self._call("traces", lambda: self._traces(run))

    async def set_alias(self, model: str, alias: str, version: str) -> None:
        await self._call(
            "set_alias",
            lambda: self._client.set_registered_model_alias(model, alias, version),
        )

    async def set_version_tag(self, model: str, version: str, key: str, value: str | None) -> None:
        if value is None:
            await self._call(
                "delete_tag", lambda: self._client.delete_model_version_tag(model, version, key)
            )
        else:
            await self._call(
                "set_tag", lambda: self._client.set_model_version_tag(model, version, key, value)
            )

    async def close_run(self, run_id: str) -> None:
        await self._call("close_run", lambda: self._client.set_terminated(run_id, status="KILLED"))

    async def _call(self, method: str, work: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        try:
            for attempt in range(RETRIES):
                try:
                    result = await loop.run_in_executor(self._pool, work)
                except MlflowException as error:
                    # A lost race of two writers of one new key, not bad input.
                    if "UniqueViolation" not in str(error) or attempt == RETRIES - 1:
                        raise
                else:
                    self.count(method, "ok")
                    return result
        except MlflowException as error:
            failure = _failure(error)
            self.count(method, type(failure).__name__.lower())
            raise failure from error
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _model(self, name: str) -> ModelView:
        registered = self._client.get_registered_model(name)
        escaped = name.replace("'", "\\'")
        versions = self._client.search_model_versions(
            f"name='{escaped}'",
            max_results=NEWEST_VERSIONS,
            order_by=["version_number DESC"],
        )
        return ModelView(
            name=name,
            aliases={alias: str(version) for alias, version in registered.aliases.items()},
            versions={str(each.version): self._version(each) for each in versions},
        )

    def _version(self, version: ModelVersion) -> VersionView:
        tags = dict(version.tags)
        key = (version.name, str(version.version))
        # Where a version's files lie never changes: asked once.
        uri = tags.get(contract.TAG_ARTIFACTS) or self._artifacts.get(key)
        if uri is None:
            uri = self._client.get_model_version_download_uri(*key)
            self._artifacts[key] = uri
        return VersionView(
            version=str(version.version), artifact_uri=uri, run_id=version.run_id or "", tags=tags
        )

    def _run(self, namespace: str, name: str, spec_hash: str) -> RunView | None:
        experiments = [each.experiment_id for each in self._client.search_experiments()]
        tags = {
            contract.TAG_NAMESPACE: namespace,
            contract.TAG_NAME: name,
            contract.TAG_SPEC_HASH: spec_hash,
        }
        condition = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
        found = self._client.search_runs(
            experiments, condition, max_results=1, order_by=["attributes.start_time DESC"]
        )
        if not found:
            return None
        run = found[0]
        return RunView(
            run_id=run.info.run_id,
            experiment_id=run.info.experiment_id,
            status=run.info.status,
            tags=dict(run.data.tags),
        )

    def _traces(self, run: RunView) -> Traces:
        status = TraceMetricDimensionKey.TRACE_STATUS
        counted = {
            point.dimensions[status]: int(point.values[str(AggregationType.COUNT)])
            for point in self._measured(
                run, TraceMetricKey.TRACE_COUNT, AggregationType.COUNT, by=(status,)
            )
        }
        return Traces(
            count=sum(counted.values()),
            failed=counted.get(TraceState.ERROR.value, 0),
            input_tokens=self._summed(run, TraceMetricKey.INPUT_TOKENS),
            output_tokens=self._summed(run, TraceMetricKey.OUTPUT_TOKENS),
        )

    def _summed(self, run: RunView, metric: str) -> int:
        found = self._measured(run, metric, AggregationType.SUM)
        return int(sum(point.values[str(AggregationType.SUM)] for point in found))

    def _measured(
        self, run: RunView, metric: str, how: AggregationType, by: tuple[str, ...] = ()
    ) -> list[MetricDataPoint]:
        """A figure of the traces of a run, by some of their dimensions; empty without traces."""
        return list(
            self._tracing.store.query_trace_metrics(
                [run.experiment_id],
                MetricViewType.TRACES,
                metric,
                [MetricAggregation(how)],
                dimensions=list(by),
                filters=[f"trace.metadata.`{TraceMetadataKey.SOURCE_RUN}` = '{run.run_id}'"],
            )
        )


def _failure(error: MlflowException) -> Exception:
    """The port's error: MLflow answers a missing alias or model with several codes."""
    text = str(error).strip()
    message = text.splitlines()[0][:300] if text else type(error).__name__
    if error.error_code in _MISSING or "not found" in message.lower():
        return Missing(message)
    if error.error_code in _REFUSED:
        return Rejected(message)
    return Unavailable(message)
