"""Server pods over HTTP: their counters, and how they describe their inputs."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

import aiohttp
from linnet_server import contract

from linnet.core.rollout.inputs import OPTIONAL
from linnet.core.rollout.state import ScrapedPage, ScrapeTarget

_LINE = re.compile(r"^([a-z_]+)(?:\{(.*)\})? ([0-9.eE+-]+)$")
_LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')
_LATENCY = f"{contract.METRIC_SECONDS}_bucket"
LARGEST_PAGE = 4 * 1024 * 1024


def parse(text: str, target: ScrapeTarget) -> ScrapedPage | None:
    """Read a metrics page; None where it does not say when its process started."""
    started = model_format = ""
    requests: dict[str, dict[str, int]] = {}
    outcomes: dict[str, dict[str, dict[str, int]]] = {}
    differences: dict[str, list[int]] = {}
    columns: dict[str, dict[str, list[int]]] = {_LATENCY: {}, contract.METRIC_PREDICTIONS: {}}
    for line in text.splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        name, label_text, value = match.groups()
        if name == contract.METRIC_PROCESS_START:
            started = value
        elif name == contract.METRIC_REQUESTS:
            labels = dict(_LABEL.findall(label_text or ""))
            by_code = requests.setdefault(labels.get("kind", ""), {})
            code = labels.get("code", "")
            by_code[code] = by_code.get(code, 0) + int(float(value))
        elif name in columns:
            # Edges and buckets come in the order of the contract, on every page.
            kind = dict(_LABEL.findall(label_text or "")).get("kind", "")
            columns[name].setdefault(kind, []).append(int(float(value)))
        elif name == contract.METRIC_OUTCOMES:
            labels = dict(_LABEL.findall(label_text or ""))
            metrics = outcomes.setdefault(labels.get("revision", ""), {})
            results = metrics.setdefault(labels.get("metric", ""), {})
            result = labels.get("result", "")
            results[result] = results.get(result, 0) + int(float(value))
        elif name == contract.METRIC_PAIR_SCORES:
            labels = dict(_LABEL.findall(label_text or ""))
            if labels.get("difference") in contract.PAIR_DIFFERENCES:
                counts = differences.setdefault(
                    labels.get("revision", ""), [0] * len(contract.PAIR_DIFFERENCES)
                )
                counts[contract.PAIR_DIFFERENCES.index(labels["difference"])] += int(float(value))
        elif name == contract.METRIC_MODEL_INFO:
            model_format = dict(_LABEL.findall(label_text or "")).get("format", "")
    if not started:
        return None
    return ScrapedPage(
        target=target,
        started=started,
        requests=requests,
        latency=_whole(columns[_LATENCY], len(contract.LATENCY_EDGES) + 1),
        scores=_whole(columns[contract.METRIC_PREDICTIONS], len(contract.PREDICTION_BUCKETS)),
        format=model_format,
        outcomes=outcomes,
        differences={revision: tuple(counts) for revision, counts in differences.items()},
    )


def _whole(found: Mapping[str, list[int]], length: int) -> dict[str, tuple[int, ...]]:
    """What has every edge or bucket: a server of another contract is not compared by them."""
    return {kind: tuple(counts) for kind, counts in found.items() if len(counts) == length}


class PodReader:
    """The `MetricSource` port on pods' own counters, bounded in time and number."""

    def __init__(self, *, timeout: timedelta, concurrency: int) -> None:
        self._timeout = aiohttp.ClientTimeout(total=timeout.total_seconds())
        self._limit = asyncio.Semaphore(concurrency)
        self._session: aiohttp.ClientSession | None = None
        self.count: Callable[[str], None] = lambda outcome: None

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout)
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def scrape(self, targets: Sequence[ScrapeTarget]) -> Sequence[ScrapedPage]:
        pages = await asyncio.gather(*(self._page(target) for target in targets))
        return [page for page in pages if page is not None]

    async def inputs(self, target: ScrapeTarget, model: str) -> Mapping[str, str] | None:
        """Column to type of one pod's model, `?` behind those that may be missing."""
        text = await self._get(f"http://{target.address}:{contract.PORT_DIRECT}/v2/models/{model}")
        try:
            described = json.loads(text)["inputs"] if text is not None else None
        except (ValueError, KeyError, TypeError):
            return None
        if described is None:
            return None
        return {
            str(column["name"]): str(column["datatype"])
            + (OPTIONAL if (column.get("parameters") or {}).get("nullable") else "")
            for column in described
        }

    async def _page(self, target: ScrapeTarget) -> ScrapedPage | None:
        url = f"http://{target.address}:{target.port}{contract.PATH_METRICS}"
        text = await self._get(url)
        page = parse(text, target) if text is not None else None
        self.count("ok" if page is not None else "failed")
        return page

    async def _get(self, url: str) -> str | None:
        async with self._limit:
            try:
                async with self._http().get(url) as response:
                    if response.status != 200:
                        return None
                    raw = await response.content.read(LARGEST_PAGE)
                    return raw.decode(errors="replace")
            except (aiohttp.ClientError, TimeoutError, OSError):
                return None
