"""What this process has answered, in numbers, and their text form for whoever scrapes them.

Written by hand because the request path touches it: a request costs a few dictionary and list
operations. All counters belong to one revision and one process; with the pod's uid the start time
tells a series from the one before a restart.
"""

import math
import time
from bisect import bisect_left

from linnet_server import contract

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PROCESS_START = time.time()
LONGEST_COLUMN_NAME = 128
SHADOWED_REVISIONS = 8
"""Revisions whose copies are counted: the last ones."""


class Counters:
    """Counters of one revision; not thread-safe, the event loop alone touches them."""

    def __init__(self, *, model: str, version: str, revision: str) -> None:
        self._model = model
        self._version = version
        self._revision = revision
        self._requests: dict[tuple[str, str], int] = {}
        self._seconds: dict[str, list[int]] = {}
        self._seconds_sum: dict[str, float] = {}
        self._predictions: dict[str, list[int]] = {}
        self._unknown: dict[str, int] = {}
        self._copies: dict[str, dict[str, int]] = {}
        self._compared: dict[str, list[int]] = {}
        self._info: dict[str, str] | None = None
        self.rows = 0
        self.in_flight = 0

    def know_model(self, *, form: str, provenance: str) -> None:
        """Say what is served; `linnet_model_info` appears with it."""
        self._info = {
            "model_name": self._model,
            "model_version": self._version,
            "revision": self._revision,
            "format": form,
            "provenance": provenance,
        }

    def answered(self, kind: str, code: str, seconds: float) -> None:
        """Count an inference request whose answer, `code`, was written after `seconds`."""
        key = (kind, code)
        self._requests[key] = self._requests.get(key, 0) + 1
        buckets = self._seconds.get(kind)
        if buckets is None:
            buckets = self._seconds[kind] = [0] * (len(contract.LATENCY_EDGES) + 1)
        buckets[bisect_left(contract.LATENCY_EDGES, seconds)] += 1
        self._seconds_sum[kind] = self._seconds_sum.get(kind, 0.0) + seconds

    def unanswered(self, kind: str, code: str) -> None:
        """Count an inference request without an answer: `reset`."""
        key = (kind, code)
        self._requests[key] = self._requests.get(key, 0) + 1

    def predicted(self, kind: str, scores: list[float]) -> None:
        """Count scores from 0 to 1 in 20 equal buckets."""
        if not scores:
            return
        buckets = self._predictions.get(kind)
        if buckets is None:
            buckets = self._predictions[kind] = [0] * 20
        for score in scores:
            if not math.isnan(score):
                buckets[max(0, min(19, int(score * 20)))] += 1

    def saw_unknown(self, name: str) -> bool:
        """Count an unknown column; return True the first time that its name is seen."""
        label = name[:LONGEST_COLUMN_NAME]
        count = self._unknown.get(label)
        if count is None and len(self._unknown) >= contract.UNKNOWN_COLUMN_NAMES:
            # The first 50 names keep their series; what comes later shares one.
            self._unknown["other"] = self._unknown.get("other", 0) + 1
            return False
        self._unknown[label] = (count or 0) + 1
        return count is None

    def copied(self, revision: str, outcome: str) -> None:
        """Count a copy of a request for a revision by what became of it."""
        if revision not in self._copies and len(self._copies) >= SHADOWED_REVISIONS:
            oldest = next(iter(self._copies))
            del self._copies[oldest]
            self._compared.pop(oldest, None)
        outcomes = self._copies.setdefault(revision, {})
        outcomes[outcome] = outcomes.get(outcome, 0) + 1

    def compared(self, revision: str, *, agrees: bool) -> None:
        """Count an answer of a revision that was compared with this server's."""
        self._compared.setdefault(revision, [0, 0])[agrees] += 1

    def render(self) -> bytes:
        """Return the page in the text format of Prometheus."""
        lines: list[str] = []
        common = f'revision="{_escape(self._revision)}",version="{_escape(self._version)}"'
        _head(lines, contract.METRIC_REQUESTS, "counter", "Inference requests by answer.")
        for (kind, code), count in sorted(self._requests.items()):
            lines.append(
                f'{contract.METRIC_REQUESTS}{{{common},kind="{kind}",code="{code}"}} {count}'
            )
        _head(lines, contract.METRIC_SECONDS, "histogram", "Seconds from first byte to answer.")
        for kind, buckets in sorted(self._seconds.items()):
            labels = f'{common},kind="{kind}"'
            total = 0
            for edge, count in zip(_EDGE_TEXTS, buckets, strict=True):
                total += count
                lines.append(f'{contract.METRIC_SECONDS}_bucket{{{labels},le="{edge}"}} {total}')
            lines.append(f"{contract.METRIC_SECONDS}_sum{{{labels}}} {self._seconds_sum[kind]!r}")
            lines.append(f"{contract.METRIC_SECONDS}_count{{{labels}}} {total}")
        _head(
            lines, contract.METRIC_PREDICTIONS, "counter", "Predicted rows by bucket of the score."
        )
        for kind, buckets in sorted(self._predictions.items()):
            for bucket, count in zip(contract.PREDICTION_BUCKETS, buckets, strict=True):
                lines.append(
                    f"{contract.METRIC_PREDICTIONS}"
                    f'{{{common},kind="{kind}",bucket="{bucket}"}} {count}'
                )
        _head(lines, contract.METRIC_ROWS, "counter", "Rows answered.")
        lines.append(f"{contract.METRIC_ROWS} {self.rows}")
        _head(lines, contract.METRIC_IN_FLIGHT, "gauge", "Inference requests being answered.")
        lines.append(f"{contract.METRIC_IN_FLIGHT} {self.in_flight}")
        _head(
            lines,
            contract.METRIC_UNKNOWN_COLUMNS,
            "counter",
            "Requests with a column that the model does not know.",
        )
        for name, count in sorted(self._unknown.items()):
            lines.append(f'{contract.METRIC_UNKNOWN_COLUMNS}{{column="{_escape(name)}"}} {count}')
        if self._copies:
            self._render_copies(lines)
        if self._info is not None:
            _head(lines, contract.METRIC_MODEL_INFO, "gauge", "The model that is served.")
            labels = ",".join(f'{name}="{_escape(text)}"' for name, text in self._info.items())
            lines.append(f"{contract.METRIC_MODEL_INFO}{{{labels}}} 1")
        _head(
            lines,
            contract.METRIC_PROCESS_START,
            "gauge",
            "Start of the process, seconds since 1970.",
        )
        lines.append(f"{contract.METRIC_PROCESS_START} {PROCESS_START:.6f}")
        lines.append("")
        return "\n".join(lines).encode()

    def _render_copies(self, lines: list[str]) -> None:
        _head(lines, contract.METRIC_COPIES, "counter", "Copies of requests by their outcome.")
        for revision, outcomes in self._copies.items():
            for outcome, count in sorted(outcomes.items()):
                labels = f'revision="{_escape(revision)}",outcome="{outcome}"'
                lines.append(f"{contract.METRIC_COPIES}{{{labels}}} {count}")
        _head(lines, contract.METRIC_OUTCOMES, "counter", "Compared answers by result.")
        for revision, (otherwise, alike) in self._compared.items():
            metric = contract.OUTCOME_DISAGREEMENT
            results = ((contract.RESULT_BAD, otherwise), (contract.RESULT_OK, alike))
            for result, count in results:
                labels = f'revision="{_escape(revision)}",metric="{metric}",result="{result}"'
                lines.append(f"{contract.METRIC_OUTCOMES}{{{labels}}} {count}")


_EDGE_TEXTS = (*(f"{edge:.6g}" for edge in contract.LATENCY_EDGES), "+Inf")


def _head(lines: list[str], name: str, kind: str, text: str) -> None:
    lines.append(f"# HELP {name} {text}")
    lines.append(f"# TYPE {name} {kind}")


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
