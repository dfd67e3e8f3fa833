"""The search itself: Optuna chooses, folds inside the training rows judge, the best values stay.

The holdout plays no part: what is maximised is the mean of the metric over the folds. A trial is
over when its nested run says so, and the study is told after that: pod 0, when it is replaced,
builds the study again from the nested runs, and every pod loses at most the trial that it was in.
"""

from __future__ import annotations

import itertools
import json
import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState

from linnet_trainer import contract, fit, raycluster, storages
from linnet_trainer import search as searches
from linnet_trainer.contract import Reason, Stage
from linnet_trainer.errors import Refusal, Unavailable
from linnet_trainer.progress import Progress, say
from linnet_trainer.recipe import Recipe, Steps, render_time
from linnet_trainer.registry import Tracker
from linnet_trainer.search import Best, Parameter, Search, Standing
from linnet_trainer.storages import StudyAway
from linnet_trainer.trials import State, Trial, Trials

Scores = Callable[[Steps], Iterator[float]]
"""Fit the steps fold by fold and yield the metric of each, NaN where it is not defined."""

FIRST, LAST = 20, 60
"""Percent of a run between which its search lies."""

REPORT_SECONDS = 2.0
"""How often the run's tags are written at most."""

FAILURES = 10
"""A search ends when so many more trials failed than ended."""

PAUSE, PATIENCE = 2.0, 120.0
"""Seconds between two tries of a study that is away, and how long pod 0 goes on trying."""

STARTUP = 5
"""Completed trials before the pruner `Median` ends one."""

_STATES = {
    State.RUNNING: TrialState.RUNNING,
    State.COMPLETE: TrialState.COMPLETE,
    State.PRUNED: TrialState.PRUNED,
    State.FAILED: TrialState.FAIL,
    State.LOST: TrialState.FAIL,
}


def require_space(recipe: Recipe, search: Search) -> None:
    """Refuse a space that the estimator contradicts: a name or a value that it does not take.

    Parameters by path (`step__parameter`) are asked of the pipeline, when it is made.
    """
    if recipe.steps.module is not None and search.ray not in ("", raycluster.LOCAL):
        raise Refusal(
            Reason.TRAINER_FAILED,
            "`module` and `search.ray.address`: the code is in this pod, and not on the nodes of "
            f"a Ray cluster: use `address: {raycluster.LOCAL}`, or `engine: Optuna`",
        )
    for parameter in search.parameters:
        if "__" in parameter.name:
            continue
        for value in parameter.edges:
            given = {**recipe.steps.parameters, parameter.name: value}
            try:
                fit.make_estimator(replace(recipe.steps, parameters=given), seed=recipe.seed)
            except Refusal as error:
                why = error.message.partition(": ")[2] or error.message
                raise Refusal(
                    error.reason, f"`search.parameters` '{parameter.name}' = {value!r}: {why}"
                ) from error


def run(
    recipe: Recipe,
    scores: Scores,
    tracker: Tracker,
    progress: Progress,
    folder: Path,
    *,
    url: str = "",
) -> Recipe:
    """Search, or go on with the search of an earlier pod; return the recipe with what was found.

    This is pod 0, which says how far the search is and when it is over. `url` is that of the study,
    empty where no other pod shares it.

    Raises:
        Refusal: no trial was completed.
        Unavailable: the registry or the study's database did not answer.
    """
    search = recipe.search
    assert search is not None
    searcher = Searcher(recipe, search, scores, Trials(tracker), pod=0, url=url)
    notes = _Notes(tracker, progress, search)
    standing = Standing(of=search.of)
    plots: dict[str, bytes] = {}

    def look() -> str:
        nonlocal standing
        standing = searcher.standing()
        reason = notes.over or over(search, standing, notes.elapsed())
        notes.tell(standing, reason)
        return reason

    def step() -> bool:
        reason = look()
        if not reason and search.ray:
            with raycluster.connected(search.ray, trials=search.parallelism):
                # Ray is in an image of its own, and imported when its variables are set.
                from linnet_trainer import raytune

                raytune.try_all(searcher, search, scores, recipe.steps, look, folder)
        elif not reason:
            searcher.try_one()
        elif standing.best is not None:
            plots.update(searcher.draw())
        return bool(reason)

    _work(searcher, step, away=notes.away, patience=PATIENCE)
    if standing.best is None:
        raise _nothing_found(search, standing, notes.over, searcher.last_error)
    say(f"the search is over: {notes.over}")
    found = standing.best.parameters
    told = {name: searches.write(value) for name, value in found.items()}
    tracker.log_params({f"search.best.{name}": value for name, value in told.items()})
    tracker.log_metrics({"search_best": standing.best.value, "search_trials": standing.ended})
    tracker.log_files(plots, folder / "search", "plots")
    return replace(
        recipe,
        steps=searches.apply(recipe.steps, found),
        search=replace(search, outcome=standing),
    )


def assist(recipe: Recipe, scores: Scores, tracker: Tracker, *, url: str, pod: int) -> None:
    """Try trials for the study of pod 0 until that says that the search is over.

    A study that does not answer is waited for: pod 0 may just be replaced, and the deadline of the
    Job ends all pods.

    Raises:
        Unavailable: the registry did not answer.
    """
    search = recipe.search
    assert search is not None
    searcher = Searcher(recipe, search, scores, Trials(tracker), pod=pod, url=url)

    def step() -> bool:
        if is_over(tracker):
            return True
        standing = searcher.standing()
        if standing.ended < standing.of:
            searcher.try_one()
        else:
            time.sleep(PAUSE)
        return False

    def away(error: StudyAway) -> bool:
        say(f"{error}: waiting for it")
        return is_over(tracker)

    _work(searcher, step, away=away)


def is_over(tracker: Tracker) -> bool:
    """Ask the run whether the search is over, or all of it."""
    if not tracker.find_run():
        return False
    kept = json.loads(tracker.tag(contract.TAG_STUDY) or "{}")
    return bool(kept.get("over") or tracker.tag(contract.TAG_RESULT))


def await_begin(tracker: Tracker) -> bool:
    """Wait until pod 0 has begun the search; say whether it is over already."""
    while not (tracker.find_run() and tracker.tag(contract.TAG_STUDY)):
        time.sleep(PAUSE)
    return is_over(tracker)


def _work(
    searcher: Searcher,
    step: Callable[[], bool],
    *,
    away: Callable[[StudyAway], bool],
    patience: float = math.inf,
) -> None:
    """Repeat `step` until it is over; connect anew, for so many seconds, to a study that is away.

    `away` is told of it and may end the work too.
    """
    since: float | None = None
    while True:
        try:
            searcher.open()
            if step():
                return
            since = None
        except StudyAway as error:
            searcher.close()
            since = since or time.monotonic()
            if away(error):
                return
            if time.monotonic() - since > patience:
                raise Unavailable(str(error)) from None
            time.sleep(PAUSE)


def assess(search: Search, known: Sequence[FrozenTrial]) -> Standing:
    """Count a study's trials and find the best completed one, the earliest of equals."""
    states = [trial.state for trial in known]
    completed = [trial for trial in known if trial.state is TrialState.COMPLETE]
    failed = states.count(TrialState.FAIL)
    best: Best | None = None
    since = 0
    if completed:
        top = max(completed, key=lambda trial: (trial.value, -trial.number))
        best = Best(number=top.number, value=top.value, parameters=top.params)
        since = sum(
            trial.number > top.number and trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
            for trial in known
        )
    of = search.of
    if search.sampler == "Grid":
        # A point that cannot be fitted is not asked again, so it is not waited for.
        of -= sum(trial.state is TrialState.FAIL and not _is_lost(trial) for trial in known)
    return Standing(
        of=max(of, 0),
        completed=len(completed),
        pruned=states.count(TrialState.PRUNED),
        running=states.count(TrialState.RUNNING),
        failed=failed,
        since_best=since,
        best=best,
    )


def over(search: Search, standing: Standing, elapsed: float) -> str:
    """Say why no further trial is begun; empty while one is. `elapsed` counts seconds."""
    if standing.ended >= standing.of:
        return f"{standing.ended} of {search.of} trials ended"
    if search.timeout is not None and elapsed >= search.timeout.total_seconds():
        return f"`search.timeout` is over after {standing.ended} trials"
    if search.patience is not None and standing.since_best >= search.patience:
        return f"{standing.since_best} trials were no better (`search.patience`)"
    if standing.failed >= standing.ended + FAILURES:
        return f"{standing.failed} trials failed"
    return ""


@dataclass(slots=True, kw_only=True)
class Attempt:
    """A trial that is under way, and what its folds said so far."""

    trial: Trial
    asked: Any
    """The study's own trial."""
    folds: list[float] = field(default_factory=list)
    reported: list[float] = field(default_factory=list)
    pruned: bool = False
    follows: bool = True
    """Whether the pruner is asked."""
    error: str = ""
    """Why the parameters cannot be fitted."""


class Searcher:
    """One pod's part in a study."""

    def __init__(
        self,
        recipe: Recipe,
        search: Search,
        scores: Scores,
        trials: Trials,
        *,
        pod: int,
        url: str,
    ) -> None:
        self._recipe = recipe
        self._search = search
        self._scores = scores
        self._trials = trials
        self._pod = pod
        self._url = url
        self._distributions = {each.name: _distribution(each) for each in search.parameters}
        self._serves = False
        self._study: Any = None
        self.last_error = ""

    def open(self) -> None:
        """Connect to the study, which pod 0 makes; end what an earlier pod of this index left.

        Raises:
            StudyAway: it does not answer.
        """
        if self._study is not None:
            return
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        known = self._trials.read()
        storage = storages.open_storage(self._url, pod=self._pod)
        with self._answering():
            named: dict[str, Any] = {
                "study_name": self._recipe.job_uid,
                "storage": storage,
                "sampler": _sampler(self._search, self._seed(len(known)), self._distributions),
                "pruner": _pruner(self._search, self._recipe.validation.folds),
            }
            if self._pod == 0:
                study = optuna.create_study(**named, direction="maximize", load_if_exists=True)
                if not study.get_trials(deepcopy=False):
                    self._fill(study, known)
            else:
                study = optuna.load_study(**named)
            self._settle(study, known)
        if self._pod == 0 and not self._serves:
            # Not before it is whole: nobody may see a study that lacks trials.
            storages.serve(storage, self._url)
            self._serves = True
        self._study = study

    def close(self) -> None:
        """Forget the connection; the next `open` makes a new one."""
        self._study = None

    def standing(self) -> Standing:
        """Return how far the search is."""
        with self._answering():
            return assess(self._search, self._study.get_trials(deepcopy=False))

    def wants(self) -> bool:
        """Whether trials would be missing if those that run all end well."""
        standing = self.standing()
        return standing.ended + standing.running < standing.of

    def draw(self) -> dict[str, bytes]:
        """Return the plots of the study."""
        with self._answering():
            return draw(self._study)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        with storages.answering(self._url), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield

    def _fill(self, study: Any, known: Sequence[Trial]) -> None:
        """Put the trials of earlier pods into a new study, or the spec's own values."""
        for trial in _numbered(known):
            study.add_trial(self._frozen(trial))
        if known:
            say(f"the search goes on after {len(known)} trials of earlier pods")
        elif self._search.sampler != "Grid" and (given := self._given()):
            study.enqueue_trial(given)

    def _settle(self, study: Any, known: Sequence[Trial]) -> None:
        """Tell the study how trials of this index ended that it takes for running.

        Their pod was lost, or the study was away when they ended.
        """
        running = {
            each.number: each
            for each in study.get_trials(deepcopy=False)
            if each.state is TrialState.RUNNING
        }
        for trial in known:
            if trial.pod != self._pod:
                continue
            if trial.state is State.RUNNING:
                trial = replace(trial, state=State.LOST, error="its pod was lost")
                self._trials.end(trial, metric=self._search.metric)
            theirs = running.get(trial.number)
            if theirs is None or _written(theirs.params) != trial.parameters:
                continue
            if trial.state is State.LOST:
                study._storage.set_trial_user_attr(theirs._trial_id, _LOST, True)
            _tell(study, trial)

    def try_one(self) -> None:
        """Try the parameters that the study asks for next.

        Raises:
            StudyAway: it does not answer; a trial that was tried meanwhile is told later.
            Unavailable: the registry did not answer; the trial is lost.
        """
        attempt = self.begin()
        self._judge(attempt)
        self.end(attempt)

    def begin(self) -> Attempt:
        """Ask the study for a trial and begin its run.

        Raises:
            StudyAway, Unavailable: as `try_one`.
        """
        with self._answering():
            asked = self._study.ask(self._distributions)
            parameters = _written(asked.params)
        trial = Trial(number=asked.number, pod=self._pod, parameters=parameters)
        trial = replace(trial, run_id=self._trials.begin(trial))
        return Attempt(trial=trial, asked=asked)

    def end(self, attempt: Attempt) -> None:
        """End the run of a trial as its folds say, then tell the study.

        Raises:
            StudyAway, Unavailable: as `try_one`.
        """
        self._end(self._judged(attempt), attempt.folds)

    def lose(self, attempt: Attempt, error: str) -> None:
        """Give a trial up that was lost with the process that tried it.

        Raises:
            StudyAway, Unavailable: as `try_one`.
        """
        with self._answering():
            self._study._storage.set_trial_user_attr(attempt.asked._trial_id, _LOST, True)
        self._end(replace(attempt.trial, state=State.LOST, error=error), attempt.folds)

    def _end(self, trial: Trial, folds: Sequence[float]) -> None:
        self._trials.end(trial, metric=self._search.metric, folds=folds)
        self.last_error = trial.error or self.last_error
        said = trial.error if trial.value is None else f"{self._search.metric} {trial.value:.4f}"
        shown = ", ".join(f"{name}={value}" for name, value in trial.parameters.items())
        say(f"trial {trial.number} {trial.state}: {said} ({shown})")
        with self._answering():
            _tell(self._study, trial)

    def _judge(self, attempt: Attempt) -> None:
        """Fit fold by fold until the pruner has seen enough."""
        try:
            steps = searches.apply(self._recipe.steps, attempt.asked.params)
            for score in self._scores(steps):
                if self.prunes(attempt, score):
                    return
        except Refusal as error:
            attempt.error = error.message

    def prunes(self, attempt: Attempt, score: float) -> bool:
        """Take the metric of the next fold; say whether the trial has to end with it."""
        if math.isnan(score):
            return False  # Not defined on this fold, whatever the parameters are.
        attempt.folds.append(score)
        # Wilcoxon pairs folds; the others follow how the mean develops.
        paired = self._search.pruner == "Wilcoxon"
        attempt.reported.append(score if paired else float(np.mean(attempt.folds)))
        if not attempt.follows:
            return False
        try:
            with self._answering():
                attempt.asked.report(attempt.reported[-1], len(attempt.reported))
                # After the last fold nothing is saved by it.
                is_last = len(attempt.reported) >= self._recipe.validation.folds
                attempt.pruned = not is_last and bool(attempt.asked.should_prune())
        except StudyAway as error:
            # A new study may know this trial by another id: it ends without advice.
            say(f"{error}: trial {attempt.trial.number} goes on")
            attempt.follows = False
        return attempt.pruned

    def _judged(self, attempt: Attempt) -> Trial:
        """How a trial ended."""
        trial, folds = attempt.trial, attempt.folds
        error = attempt.error
        if not folds and not error:
            error = f"{self._search.metric} is not defined on any fold"
        if error:
            return replace(trial, state=State.FAILED, error=error)
        return replace(
            trial,
            state=State.PRUNED if attempt.pruned else State.COMPLETE,
            value=float(np.mean(folds)),
            reported=tuple(attempt.reported),
        )

    def _seed(self, begun: int) -> int:
        """A seed that neither another pod nor an earlier one of this index has used."""
        return (self._recipe.seed + 64 * begun + self._pod) % 2**32

    def _given(self) -> dict[str, Any]:
        """The spec's own values of what is searched, as far as the space holds them."""
        parameters = self._recipe.steps.parameters
        found = {
            each.name: each.find(parameters[each.name])
            for each in self._search.parameters
            if each.name in parameters
        }
        return {name: value for name, value in found.items() if value is not None}

    def _frozen(self, trial: Trial) -> FrozenTrial:
        spaces = {each.name: each for each in self._search.parameters}
        given = {
            name: spaces[name].read(text)
            for name, text in trial.parameters.items()
            if name in spaces
        }
        return optuna.trial.create_trial(
            state=_STATES[trial.state],
            value=trial.value if trial.state in (State.COMPLETE, State.PRUNED) else None,
            params=given,
            distributions={name: self._distributions[name] for name in given},
            intermediate_values=dict(enumerate(trial.reported, start=1)),
            user_attrs={_LOST: True} if trial.state is State.LOST else {},
        )


class Grid(optuna.samplers.BaseSampler):  # type: ignore[misc]
    """Every point of a grid once, in an order of the pod's own; a point that was lost, again.

    Optuna's own sampler numbers the points by trials: one that was lost is never tried, and one
    that cannot be fitted is tried for ever.
    """

    def __init__(
        self, search: Search, seed: int, distributions: Mapping[str, BaseDistribution]
    ) -> None:
        self._distributions = dict(distributions)
        names = [parameter.name for parameter in search.parameters]
        points = itertools.product(*(parameter.points for parameter in search.parameters))
        self._points = [dict(zip(names, point, strict=True)) for point in points]
        np.random.default_rng(seed).shuffle(self._points)

    def infer_relative_search_space(
        self, study: Any, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the whole space: a point has all parameters."""
        return self._distributions

    def sample_relative(
        self, study: Any, trial: FrozenTrial, search_space: Mapping[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the next point that no trial has or had."""
        known = study.get_trials(deepcopy=False)
        tried = [each.params for each in known if not _is_lost(each)]
        # A pod may ask once more than the grid has points, while another has the last one.
        return next((point for point in self._points if point not in tried), self._points[0])

    def sample_independent(
        self, study: Any, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Never called: every point has all parameters."""
        raise NotImplementedError


def draw(study: Any) -> dict[str, bytes]:
    """Return plots of a study as PNG files by name; those that it is too small for are left out."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from optuna.visualization import matplotlib as shown

    from linnet_trainer.plots import render

    made: dict[str, bytes] = {}
    for name, plot in (
        ("history", shown.plot_optimization_history),
        ("importance", shown.plot_param_importances),
        ("slice", shown.plot_slice),
        ("folds", shown.plot_intermediate_values),
    ):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                plot(study)
                made[f"search-{name}.png"] = render(plt.gcf())
        except (ValueError, RuntimeError) as error:
            say(f"the plot search-{name} was not drawn: {str(error).splitlines()[0]}")
        finally:
            plt.close("all")
    return made


def _numbered(known: Sequence[Trial]) -> Iterator[Trial]:
    """Fill the gaps, so that every trial keeps its number."""
    found = {trial.number: trial for trial in known}
    for number in range(max(found, default=-1) + 1):
        lost = Trial(number=number, pod=0, parameters={}, state=State.LOST)
        yield found.get(number, lost)


def _tell(study: Any, trial: Trial) -> None:
    value = trial.value if trial.state is State.COMPLETE else None
    study.tell(trial.number, value, state=_STATES[trial.state])


def _written(parameters: Mapping[str, Any]) -> dict[str, str]:
    return {name: searches.write(value) for name, value in parameters.items()}


class _Notes:
    """What the run says of the search: since when, how far, and that it is over."""

    def __init__(self, tracker: Tracker, progress: Progress, search: Search) -> None:
        self._tracker = tracker
        self._progress = progress
        self._search = search
        self._told = -math.inf
        kept = json.loads(tracker.tag(contract.TAG_STUDY) or "{}")
        self.over = str(kept.get("over", ""))
        self._begun = kept.get("begun") or render_time(datetime.now(UTC))
        self._announced = bool(kept)

    def elapsed(self) -> float:
        """Seconds since the first pod of this job began the search."""
        return (datetime.now(UTC) - datetime.fromisoformat(self._begun)).total_seconds()

    def tell(self, standing: Standing, reason: str) -> None:
        """Write how far the search is; not more often than is read, but always its end."""
        if not self._announced:
            # The other pods begin when they read it: the study is there.
            self._tracker.set_tag(contract.TAG_STUDY, json.dumps({"begun": self._begun}))
            self._announced = True
        if not reason and time.monotonic() - self._told < REPORT_SECONDS:
            return
        self._told = time.monotonic()
        best = standing.best
        found = f", best {self._search.metric} {best.value:.4f}" if best is not None else ""
        self._tracker.set_tag(contract.TAG_SEARCH, json.dumps(searches.document(standing)))
        self._progress.enter(
            Stage.SEARCHING,
            f"{standing.ended} of {standing.of} trials{found}",
            percent=FIRST + (LAST - FIRST) * standing.ended // max(standing.of, 1),
            remaining=remaining(self._search, standing, self.elapsed()),
        )
        if reason:
            self.over = reason
            told = {"begun": self._begun, "over": reason}
            self._tracker.set_tag(contract.TAG_STUDY, json.dumps(told))

    def away(self, error: StudyAway) -> bool:
        """Say that the study does not answer; the search is not over by that."""
        self._progress.enter(Stage.SEARCHING, f"{error}: tried again")
        return False


def remaining(search: Search, standing: Standing, elapsed: float) -> int | None:
    """Estimate the seconds until the search is over, at its pace so far; None before the first."""
    if not standing.ended:
        return None
    left = elapsed / standing.ended * max(standing.of - standing.ended, 0)
    if search.timeout is not None:
        left = min(left, max(search.timeout.total_seconds() - elapsed, 0))
    return round(left)


_LOST = "lost"


def _is_lost(trial: FrozenTrial) -> bool:
    return _LOST in trial.user_attrs


def _distribution(parameter: Parameter) -> BaseDistribution:
    if parameter.choices:
        return CategoricalDistribution(parameter.choices)
    if parameter.kind.is_float:
        return FloatDistribution(parameter.low, parameter.high, log=parameter.kind.is_log)
    return IntDistribution(
        int(parameter.low), int(parameter.high), log=parameter.kind.is_log, step=parameter.step
    )


def _sampler(
    search: Search, seed: int, distributions: Mapping[str, BaseDistribution]
) -> optuna.samplers.BaseSampler:
    if search.sampler == "Grid":
        return Grid(search, seed, distributions)
    if search.sampler == "Random":
        return optuna.samplers.RandomSampler(seed=seed)
    if search.sampler == "CMAES":
        return optuna.samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)
    return optuna.samplers.TPESampler(seed=seed)


def _pruner(search: Search, folds: int) -> optuna.pruners.BasePruner:
    if search.pruner == "Wilcoxon":
        return optuna.pruners.WilcoxonPruner(p_threshold=0.1)
    if search.pruner == "Median":
        return optuna.pruners.MedianPruner(n_startup_trials=STARTUP)
    if search.pruner == "Hyperband":
        return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=folds)
    return optuna.pruners.NopPruner()


def _nothing_found(search: Search, standing: Standing, reason: str, error: str) -> Refusal:
    if error:
        remedy = f"check `search.parameters`: {error}"
    else:
        remedy = "raise `search.timeout`, or give it fewer rows or folds"
    return Refusal(
        Reason.TRAINER_FAILED,
        f"the search completed no trial of {search.of} ({standing.failed} failed, {reason}): "
        f"{remedy}",
    )
