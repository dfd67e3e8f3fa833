"""Ray Tune: the trials of a search on Ray, chosen, pruned, counted and recorded as any other.

Tune runs in this process and asks our own study what to try next and what to prune. Study, nested
runs and the keys of the registry stay here: workers get rows and parameters, and answer with the
metric of each fold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ray import tune

from linnet_trainer import search as searches
from linnet_trainer.errors import Refusal
from linnet_trainer.recipe import Steps
from linnet_trainer.search import Search
from linnet_trainer.study import Attempt, Scores, Searcher


def try_all(
    searcher: Searcher,
    search: Search,
    scores: Scores,
    steps: Steps,
    look: Callable[[], str],
    folder: Path,
) -> None:
    """Try trials on Ray until `look` says why none is begun any more, and those have ended.

    This process is connected to Ray.

    Raises:
        Unavailable: the registry does not answer.
    """
    desk = _Desk(searcher, search.parallelism, look)
    trainable = tune.with_parameters(_try, scores=scores, steps=steps)
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        tune_config=tune.TuneConfig(
            num_samples=-1,
            search_alg=_Suggester(desk),
            scheduler=_Pruner(desk),
            reuse_actors=True,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name="trials", storage_path=str(folder / "ray"), callbacks=[_Ends(desk)], verbose=0
        ),
    )
    try:
        tuner.fit()
    except Exception as error:
        # What the study or the registry raised comes back in Tune's own words.
        raise desk.error or error from None


def _try(config: Mapping[str, Any], scores: Scores, steps: Steps) -> None:
    """Fit fold by fold on a worker, and report each."""
    try:
        for fold, score in enumerate(scores(searches.apply(steps, config["parameters"])), start=1):
            tune.report({"fold": fold, "score": score})
    except Refusal as error:
        tune.report({"fold": 0, "refused": error.message})


class _Desk:
    """Where Tune's hooks meet the study."""

    def __init__(self, searcher: Searcher, parallelism: int, look: Callable[[], str]) -> None:
        self._searcher = searcher
        self._parallelism = parallelism
        self._look = look
        self._attempts: dict[str, Attempt] = {}
        self._seen: dict[str, int] = {}
        self._waits = False
        self.error: Exception | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Tune stores its hooks to go on later; the nested runs are what we go on from."""
        return str, ()

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Keep what is raised: Tune hands on the text of it alone."""
        try:
            yield
        except Exception as error:
            self.error = self.error or error
            raise

    def begin(self, trial_id: str) -> Mapping[str, Any] | str | None:
        """Parameters to try, why none are tried any more, or None to be asked again."""
        if self._waits or len(self._attempts) >= self._parallelism:
            return None
        if self._look():
            return str(tune.search.Searcher.FINISHED)
        if not self._searcher.wants():
            self._waits = True  # Until one of those that are tried has ended.
            return None
        attempt = self._searcher.begin()
        self._attempts[trial_id] = attempt
        return {"parameters": dict(attempt.asked.params)}

    def prunes(self, trial_id: str, told: Mapping[str, Any]) -> bool:
        """Take what a worker reported; say whether its trial has to end."""
        attempt = self._attempts[trial_id]
        if told["fold"] <= self._seen.get(trial_id, -1):
            return False  # Tune tells the last report again when the function has returned.
        self._seen[trial_id] = told["fold"]
        if "refused" in told:
            attempt.error = told["refused"]
            return False
        return self._searcher.prunes(attempt, told["score"])

    def end(self, trial_id: str) -> None:
        """End a trial whose function has returned, or that was pruned."""
        self._searcher.end(self._attempts.pop(trial_id))
        self._waits = False

    def lose(self, trial_id: str, error: Exception | None) -> None:
        """Give up a trial that raised, or whose worker was lost."""
        why = str(error).strip().splitlines()[-1:] or [""]
        kind = type(error).__name__
        self._searcher.lose(
            self._attempts.pop(trial_id), f"its worker on Ray was lost ({kind}: {why[0].strip()})"
        )
        self._waits = False


class _Suggester(tune.search.Searcher):  # type: ignore[misc]
    """Asks the study what to try next."""

    def __init__(self, desk: _Desk) -> None:
        super().__init__()
        self._desk = desk

    def suggest(self, trial_id: str) -> Any:
        with self._desk.noting():
            return self._desk.begin(trial_id)

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """Nothing: `_Ends` knows why a trial ended."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: what the study knows is in the nested runs."""


class _Pruner(tune.schedulers.FIFOScheduler):  # type: ignore[misc]
    """Asks the study's pruner after each fold."""

    def __init__(self, desk: _Desk) -> None:
        super().__init__()
        self._desk = desk

    def on_trial_result(self, tune_controller: Any, trial: Any, result: Any) -> str:
        with self._desk.noting():
            prunes = self._desk.prunes(trial.trial_id, result)
        return str(self.STOP if prunes else self.CONTINUE)


class _Ends(tune.Callback):  # type: ignore[misc]
    """Records how each trial ended."""

    def __init__(self, desk: _Desk) -> None:
        self._desk = desk

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        with self._desk.noting():
            self._desk.end(trial.trial_id)

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        with self._desk.noting():
            self._desk.lose(trial.trial_id, trial.get_error())
