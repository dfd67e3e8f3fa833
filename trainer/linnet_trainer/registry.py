"""MLflow, as the trainer uses it: one run per job, a logged model, at most one version.

Every call goes through `calling`, which tells what a person must mend from what another try may.
Aliases are read here and never written: the operator alone moves them.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import mlflow.artifacts
import mlflow.exceptions
from mlflow import MlflowClient
from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LoggedModelOutput,
    Metric,
    Param,
    RunTag,
    ViewType,
)
from mlflow.entities import Run as MlflowRun

from linnet_trainer import contract
from linnet_trainer.errors import Unavailable
from linnet_trainer.recipe import Recipe, Task

T = TypeVar("T")

BATCH = 100
"""MLflow takes so many parameters or tags a request."""

LOST_RACES = 5

_TYPES = {
    Task.CLASSIFICATION: "Classifier",
    Task.REGRESSION: "Regressor",
    Task.CLUSTERING: "Clusterer",
}
"""What MLflow calls a model of a task."""

_MISSING = re.compile(r"\(404\)|NoSuchKey|No such (artifact|file)|does not exist|Not Found")


@dataclass(frozen=True, slots=True, kw_only=True)
class Champion:
    """The version under `championAlias`."""

    version: str
    tags: Mapping[str, str]
    artifacts: str
    """Where its files lie, as the registry says."""
    run_id: str = ""


@contextmanager
def calling(what: str) -> Iterator[None]:
    """Turn what MLflow and its stores raise into `Unavailable` with a sentence.

    A 4xx of MLflow passes unchanged: the caller knows what it asked for.
    """
    try:
        yield
    except mlflow.exceptions.MlflowException as error:
        status = error.get_http_status_code()
        transport = not isinstance(error, mlflow.exceptions.RestException)
        if status in (401, 403):
            raise Unavailable(
                f"the registry refuses to {what}: {_first_line(error)}; check the Secret of "
                "`credentialsSecretName`"
            ) from error
        if status >= 500 or status == 429 or (transport and _is_transport(error)):
            raise Unavailable(
                f"the registry does not answer ({what}): {_first_line(error)}"
            ) from error
        raise
    except Exception as error:
        home = type(error).__module__.partition(".")[0]
        if home in ("requests", "urllib3", "botocore", "boto3", "s3transfer"):
            raise Unavailable(
                f"the store does not answer ({what}): {_first_line(error)}"
            ) from error
        if isinstance(error, OSError):
            raise Unavailable(
                f"the store does not answer ({what}): {_first_line(error)}"
            ) from error
        raise


class Run:
    """A run of an experiment, found again by its identity: tags that no other run has."""

    def __init__(
        self, *, experiment: str, name: str, identity: Mapping[str, str], tags: Mapping[str, str]
    ) -> None:
        self._client = MlflowClient()
        self._experiment_name = experiment
        self._name = name
        self._identity = dict(identity)
        self._more_tags = dict(tags)
        self.run_id = ""
        self.experiment_id = ""
        self._tags: dict[str, str] = {}

    def open_run(self) -> None:
        """Find the run of this job by its tags, or create it; set its status to running."""
        run = self._find()
        with calling("start the run"):
            if run is not None:
                if run.info.status != "RUNNING" and contract.TAG_RESULT not in run.data.tags:
                    self._client.update_run(run.info.run_id, status="RUNNING")
            else:
                run = self._client.create_run(
                    self.experiment_id,
                    run_name=self._name or None,
                    tags={
                        **self._identity,
                        **self._more_tags,
                        "mlflow.source.type": "JOB",
                        "mlflow.user": "linnet",
                    },
                )
        self._take(run)

    def find_run(self) -> bool:
        """Find the run of this job, and what its tags say now; whether there is one yet."""
        run = self.read_run(self.run_id) if self.run_id else self._find()
        if run is not None:
            self._take(run)
        return run is not None

    def read_run(self, run_id: str) -> MlflowRun | None:
        """Return a run, or None where it is gone."""
        try:
            with calling("read a run"):
                return self._client.get_run(run_id)
        except mlflow.exceptions.MlflowException:
            return None

    def _find(self) -> MlflowRun | None:
        with calling("find the run"):
            self.experiment_id = self.experiment_id or self._experiment()
            runs = self._client.search_runs(
                [self.experiment_id],
                filter_string=_tagged(self._identity),
                order_by=["attributes.start_time ASC"],
                max_results=1,
            )
        return next(iter(runs), None)

    def _take(self, run: MlflowRun) -> None:
        self.run_id = run.info.run_id
        self._tags = dict(run.data.tags)

    def tag(self, key: str) -> str:
        """Return a tag of the run as it was when the run was opened, or as set since."""
        return self._tags.get(key, "")

    def set_tag(self, key: str, value: str) -> None:
        """Set a tag of the run."""
        with calling(f"set the tag {key}"):
            _retried(lambda: self._client.set_tag(self.run_id, key, value))
        self._tags[key] = value

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set several tags of the run at once."""
        entries = [RunTag(key, value) for key, value in tags.items()]
        with calling("set tags"):
            _retried(lambda: self._client.log_batch(self.run_id, tags=entries))
        self._tags |= tags

    def log_metrics(
        self, metrics: Mapping[str, float], *, step: int = 0, at: datetime | None = None
    ) -> None:
        """Log metrics, as of now or of another time."""
        moment = int((at.timestamp() if at is not None else time.time()) * 1000)
        entries = [Metric(key, value, moment, step) for key, value in metrics.items()]
        for start in range(0, len(entries), BATCH):
            with calling("log metrics"):
                self._client.log_batch(self.run_id, metrics=entries[start : start + BATCH])

    def log_text(self, text: str, path: str) -> None:
        """Store a text as an artifact of the run."""
        with calling(f"store {path}"):
            self._client.log_text(self.run_id, text, path)

    def log_files(self, files: Mapping[str, bytes], folder: Path, path: str) -> None:
        """Store files as artifacts of the run, below `path`; `folder` is scratch space."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, blob in files.items():
            (folder / name).write_bytes(blob)
        with calling(f"store {path}"):
            self._client.log_artifacts(self.run_id, str(folder), path)

    def download(self, uri: str, path: str, folder: Path) -> Path:
        """Download one file below `uri`.

        Raises:
            FileNotFoundError: it is not there.
        """
        try:
            with calling(f"fetch {path}"):
                found = mlflow.artifacts.download_artifacts(
                    artifact_uri=f"{uri.rstrip('/')}/{path}", dst_path=str(folder)
                )
        except (Unavailable, mlflow.exceptions.MlflowException) as error:
            if _is_missing(error):
                raise FileNotFoundError(path) from error
            raise
        return Path(found)

    def close_run(self, status: str) -> None:
        """End the run with `FINISHED`, `FAILED` or `KILLED`."""
        if self.run_id:
            with calling("end the run"):
                self._client.set_terminated(self.run_id, status)

    def _experiment(self) -> str:
        name = self._experiment_name
        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(self._client.create_experiment(name))
            except mlflow.exceptions.MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                found = self._client.get_experiment_by_name(name)
                assert found is not None
        if found.lifecycle_stage == "deleted":
            self._client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)


class Tracker(Run):
    """The run of one job, and the registry beside it."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(
            experiment=recipe.experiment,
            name=recipe.name,
            identity={
                contract.TAG_NAMESPACE: recipe.namespace,
                contract.TAG_NAME: recipe.name,
                contract.TAG_JOB_UID: recipe.job_uid,
                contract.TAG_SPEC_HASH: recipe.spec_hash,
            },
            tags={contract.TAG_MODEL: recipe.model, "mlflow.source.name": "linnet-trainer"},
        )
        self._recipe = recipe

    def log_params(self, params: Mapping[str, str]) -> None:
        """Log parameters; the same values again are fine, as on a retry."""
        entries = [Param(key, contract.cut(value, 5900)) for key, value in params.items()]
        for start in range(0, len(entries), BATCH):
            batch = entries[start : start + BATCH]
            with calling("log parameters"):
                self._client.log_batch(self.run_id, params=batch)

    def log_dataset(
        self, *, uri: str, digest: str, sha256: str, columns: Mapping[str, str], rows: int
    ) -> None:
        """Log which data the run read: MLflow's short digest and our own over all rows."""
        schema = [{"name": name, "type": kind} for name, kind in columns.items()]
        dataset = Dataset(
            name=contract.cut(uri.rpartition("://")[2], 500),
            digest=digest,
            source_type=uri.partition("://")[0],
            source=json.dumps({"uri": uri}),
            schema=json.dumps({"columns": schema[:200]}),
            profile=json.dumps({"num_rows": rows, "sha256": sha256}),
        )
        tags = [
            InputTag(key="mlflow.data.context", value="training"),
            InputTag(key=contract.TAG_DATA, value=sha256),
        ]
        with calling("log the dataset"):
            self._client.log_inputs(self.run_id, [DatasetInput(dataset, tags)])

    def create_model(self) -> tuple[str, str]:
        """Create the logged model of the run; return its id and where its files go."""
        with calling("create the logged model"):
            model = self._client.create_logged_model(
                self.experiment_id,
                name=_model_name(self._recipe.model),
                source_run_id=self.run_id,
                tags={contract.TAG_JOB_UID: self._recipe.job_uid},
                model_type=_TYPES[self._recipe.task],
            )
        return model.model_id, model.artifact_location

    def upload_model(self, model_id: str, folder: Path, metrics: Mapping[str, float]) -> None:
        """Upload a model's files, mark it ready and tie it and the metrics to the run."""
        with calling("upload the model"):
            self._client.log_model_artifacts(model_id, str(folder))
            self._client.finalize_logged_model(model_id, "READY")
            self._client.log_outputs(self.run_id, [LoggedModelOutput(model_id, step=0)])
            for key, value in metrics.items():
                self._client.log_metric(self.run_id, key, value, model_id=model_id)

    def find_champion(self) -> Champion | None:
        """Return the version under `championAlias`, or None where there is none."""
        name, alias = self._recipe.model, self._recipe.champion_alias
        if not alias:
            return None
        try:
            with calling("read the champion"):
                found = self._client.get_model_version_by_alias(name, alias)
                artifacts = self._client.get_model_version_download_uri(name, found.version)
        except mlflow.exceptions.MlflowException as error:
            # A missing alias is a 400 whose text alone says so; a missing model is a 404.
            if error.error_code == "RESOURCE_DOES_NOT_EXIST" or "not found" in str(error):
                return None
            raise
        return Champion(
            version=str(found.version),
            tags=dict(found.tags),
            artifacts=artifacts,
            run_id=found.run_id or "",
        )

    def recent(self, count: int) -> list[MlflowRun]:
        """Return the newest finished runs of the model, of any experiment, without this one."""
        with calling("read other runs"):
            everywhere = self._client.search_experiments()
            found = self._client.search_runs(
                [experiment.experiment_id for experiment in everywhere],
                filter_string=f"{_tagged({contract.TAG_MODEL: self._recipe.model})} and "
                "attributes.status = 'FINISHED'",
                order_by=["attributes.start_time DESC"],
                max_results=count + 1,
            )
        return [run for run in found if run.info.run_id != self.run_id][:count]

    def claim_look(self, holdout: str) -> int:
        """Count this job's look at a holdout, after those of all other jobs for this model.

        The run is marked before the others are counted, so that two jobs which look at once count
        each other. A retry keeps its number.
        """
        kept = self.tag(contract.TAG_LOOK)
        if kept.isdigit() and self.tag(contract.TAG_HOLDOUT) == holdout:
            return int(kept)
        self.set_tags({contract.TAG_HOLDOUT: holdout, contract.TAG_LOOK: "pending"})
        look = 1 + self._other_looks(holdout)
        self.set_tag(contract.TAG_LOOK, str(look))
        return look

    def register(self, *, model_id: str, tags: Mapping[str, str]) -> tuple[str, bool]:
        """Return the job's version, created where there is none; whether it was created now."""
        name = self._recipe.model
        with calling("create the registered model"):
            self._ensure_model(name)
        found = self.find_version()
        if found:
            return found, False
        with calling("create the version"):
            version = _retried(
                lambda: self._client.create_model_version(
                    name,
                    source=f"models:/{model_id}",
                    run_id=self.run_id,
                    tags=dict(tags),
                    model_id=model_id,
                    await_creation_for=0,
                )
            )
        # A create whose answer was lost may have been repeated by the client: the first one stands.
        return self.find_version() or str(version.version), True

    def find_version(self) -> str:
        """Return the version that this job registered, or an empty text."""
        name = self._recipe.model.replace("'", "''")
        uid = self._recipe.job_uid
        with calling("find the version"):
            found = self._client.search_model_versions(
                f"name='{name}' and tags.`{contract.TAG_JOB_UID}`='{uid}'"
            )
        return str(min((int(version.version) for version in found), default=""))

    def _other_looks(self, holdout: str) -> int:
        """Count other runs, deleted ones too, of any experiment, that compared on this holdout."""
        wanted = {contract.TAG_HOLDOUT: holdout, contract.TAG_MODEL: self._recipe.model}
        count: int = 0
        token: str | None = None
        with calling("count the looks at the holdout"):
            everywhere = self._client.search_experiments(view_type=ViewType.ALL)
            experiments = [experiment.experiment_id for experiment in everywhere]
            while True:
                page = self._client.search_runs(
                    experiments,
                    filter_string=_tagged(wanted),
                    run_view_type=ViewType.ALL,
                    page_token=token,
                )
                count += sum(
                    contract.TAG_LOOK in run.data.tags and run.info.run_id != self.run_id
                    for run in page
                )
                token = page.token
                if not token:
                    return count

    def _ensure_model(self, name: str) -> None:
        try:
            self._client.get_registered_model(name)
        except mlflow.exceptions.MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            try:
                _retried(lambda: self._client.create_registered_model(name))
            except mlflow.exceptions.MlflowException as second:
                if second.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise


def moment(text: str) -> datetime | None:
    """Read a time from a version's tag; None where it is none."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def prepare_environment() -> None:
    """Point the clients at the cluster's CA and keep MLflow quiet; before they are used."""
    if os.path.exists(contract.CA_PATH):
        for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE"):
            os.environ.setdefault(name, contract.CA_PATH)
    defaults = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "1",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "MLFLOW_RECORD_ENV_VARS_IN_MODEL_LOGGING": "false",
        "AWS_MAX_ATTEMPTS": "3",
        "AWS_RETRY_MODE": "standard",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    if endpoint := os.environ.get("AWS_ENDPOINT_URL"):
        os.environ.setdefault("MLFLOW_S3_ENDPOINT_URL", endpoint)


def _retried(call: Callable[[], T]) -> T:
    """Call again after a lost race on a PostgreSQL store, which MLflow answers with a 400."""
    for attempt in range(LOST_RACES):
        try:
            return call()
        except mlflow.exceptions.MlflowException as error:
            if "UniqueViolation" not in str(error) or attempt == LOST_RACES - 1:
                raise
            time.sleep(0.1 * 2**attempt)
    raise AssertionError("unreachable")


def _tagged(tags: Mapping[str, str]) -> str:
    return " and ".join(f"tags.`{key}` = '{_quoted(value)}'" for key, value in tags.items())


def _quoted(value: str) -> str:
    return value.replace("'", "''")


def _model_name(name: str) -> str:
    """A logged model's name refuses some characters that a registered model's may have."""
    return "".join("-" if character in "/:.%\"'" else character for character in name)


def _is_transport(error: Exception) -> bool:
    text = str(error)
    return "API request to" in text or "timed out" in text or "Max retries" in text


def _is_missing(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, FileNotFoundError) or _MISSING.search(str(error)):
            return True
        error = error.__cause__
    return False


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return contract.cut(text.splitlines()[0] if text else type(error).__name__, 300)
