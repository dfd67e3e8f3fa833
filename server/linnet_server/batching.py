"""Natural batching: while the model works, requests queue; then all that queued go in one call.

No timer: a lone request starts at once, and under load the batch is what arrived during the call
before. scikit-learn's cost hardly depends on the number of rows, so this is where throughput comes
from. The model is called in one worker thread, so that probes are answered meanwhile.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Protocol

CAP = 512
"""Rows of one batch; a longer request goes alone."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """Answers for some rows: a label or number for each, probabilities `[n][classes]` or None."""

    labels: list[Any]
    probabilities: list[list[float]] | None

    def part(self, start: int, stop: int) -> "Predictions":
        """Return the answers for rows `start` to `stop` (exclusive)."""
        probabilities = self.probabilities
        return Predictions(
            self.labels[start:stop],
            None if probabilities is None else probabilities[start:stop],
        )


Outcome = Predictions | Exception


class Predictor(Protocol):
    """What the batcher calls."""

    def predict(self, rows: Sequence[Sequence[Any]]) -> Predictions:
        """Answer rows in the model's column order."""
        ...


class Job:
    """Rows of one request and what to call with their outcome."""

    __slots__ = ("cancelled", "done", "rows")

    def __init__(self, rows: list[Sequence[Any]], done: Callable[[Outcome], None]) -> None:
        self.rows = rows
        self.done = done
        self.cancelled = False


class Batcher:
    """Queue jobs for one model; every job's `done` is called once, in the event loop."""

    def __init__(self, model: Predictor, executor: Executor) -> None:
        self._model = model
        self._executor = executor
        self._queue: deque[Job] = deque()
        self._working = False
        self._loop = asyncio.get_running_loop()

    def submit(self, job: Job) -> None:
        """Answer `job` with whatever else is waiting."""
        self._queue.append(job)
        if not self._working:
            # The rest of this turn of the loop may bring more requests.
            self._working = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        batch: list[Job] = []
        size = 0
        while self._queue:
            job = self._queue[0]
            if job.cancelled:
                self._queue.popleft()
                continue
            if batch and size + len(job.rows) > CAP:
                break
            batch.append(self._queue.popleft())
            size += len(job.rows)
        if not batch:
            self._working = False
            return
        future = self._loop.run_in_executor(self._executor, _answer, self._model, batch)
        future.add_done_callback(lambda finished: self._deliver(batch, finished))

    def _deliver(self, batch: list[Job], finished: "asyncio.Future[list[Outcome]]") -> None:
        error = None if finished.cancelled() else finished.exception()
        if finished.cancelled() or error is not None:
            outcomes: list[Outcome] = [RuntimeError(f"the worker thread ended: {error}")] * len(
                batch
            )
        else:
            outcomes = finished.result()
        # The next batch starts before answers are written, so the thread is never idle for them.
        if self._queue:
            self._loop.call_soon(self._flush)
        else:
            self._working = False
        for job, outcome in zip(batch, outcomes, strict=True):
            if not job.cancelled:
                job.done(outcome)


def _answer(model: Predictor, batch: list[Job]) -> list[Outcome]:
    """Answer a batch in one call; where that fails, each job alone, so one cannot fail another."""
    if len(batch) == 1:
        return [_answer_one(model, batch[0])]
    rows = [row for job in batch for row in job.rows]
    try:
        answers = model.predict(rows)
    except Exception:
        return [_answer_one(model, job) for job in batch]
    outcomes: list[Outcome] = []
    start = 0
    for job in batch:
        outcomes.append(answers.part(start, start + len(job.rows)))
        start += len(job.rows)
    return outcomes


def _answer_one(model: Predictor, job: Job) -> Outcome:
    try:
        return model.predict(job.rows)
    except Exception as error:
        return error
