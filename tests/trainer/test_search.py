"""A search: what is refused, what it finds, and what a second pod of its job goes on with."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
from linnet_trainer import __main__ as program
from linnet_trainer import contract, search, study, trials
from linnet_trainer.contract import Exit, Outcome, Reason
from linnet_trainer.errors import Refusal, Unavailable
from linnet_trainer.search import Best, Kind, Parameter, Search, Standing

from trainer.test_recipe import parse as recipe
from trainer.world import World

C = {"name": "C", "logUniform": {"min": "0.001", "max": "10"}}
FAST = {"validation": {"folds": 2}, "pipeline": {"columns": {"numeric": ["x", "wind"]}}}


def parse(*parameters: Any, **more: Any) -> Search:
    return search.parse({"parameters": list(parameters), **more}, metric="roc_auc", timeout=None)


@pytest.mark.parametrize(
    ("parameters", "more", "told"),
    [
        ((), {}, "`search.parameters` is empty"),
        ((C, C), {}, "`search.parameters` names 'C' twice"),
        (({"name": "C"},), {}, "'C' must have a name and exactly one of `uniform`"),
        (({"name": "C", "uniform": {"min": "2", "max": "1"}},), {}, "`min` must be less than"),
        (({"name": "C", "logUniform": {"min": "0", "max": "1"}},), {}, "wants 0 < min < max"),
        (({"name": "n", "logInt": {"min": 1, "max": 9, "step": 2}},), {}, "`logInt` has no `step`"),
        (({"name": "n", "categorical": {"choices": []}},), {}, "'n': `choices` is empty"),
        ((C,), {"sampler": "Grid"}, "'C' is any number of a range"),
        (({"name": "n", "int": {"min": 0, "max": 20000}},), {"sampler": "Grid"}, "20001 points"),
        ((C,), {"sampler": "CMAES"}, "at least two parameters that are numbers, the space has 1"),
    ],
)
def test_a_space_that_contradicts_itself_or_its_sampler_is_refused(
    parameters: tuple[Any, ...], more: dict[str, Any], told: str
) -> None:
    with pytest.raises(Refusal) as caught:
        parse(*parameters, **more)

    assert told in caught.value.message


def test_choices_are_json_where_they_parse_and_an_int_range_ends_on_a_step() -> None:
    depth, solver = parse(
        {"name": "depth", "int": {"min": 1, "max": 8, "step": 3}},
        {"name": "solver", "categorical": {"choices": ["null", "[2, 3]", "lbfgs"]}},
    ).parameters

    assert depth.points == (1, 4, 7)
    assert solver.edges == (None, [2, 3], "lbfgs")
    assert solver.find(None) == "null"
    assert (depth.find(4), depth.find(5), depth.find(True)) == (4, None, None)


def test_names_go_to_the_estimator_and_paths_to_the_pipeline() -> None:
    steps = search.apply(recipe().steps, {"C": 0.5, "columns__numeric__imputer__strategy": "mean"})

    assert steps.parameters == {"C": 0.5}
    assert steps.paths == {"columns__numeric__imputer__strategy": "mean"}


LIMITS = Search(
    metric="roc_auc",
    parameters=(Parameter(name="C", kind=Kind.UNIFORM, low=0, high=1),),
    trials=10,
    patience=4,
    timeout=timedelta(minutes=1),
)


@pytest.mark.parametrize(
    ("standing", "elapsed", "reason"),
    [
        (Standing(of=10, completed=9), 0, ""),
        (Standing(of=10, completed=8, pruned=2), 0, "10 of 10 trials ended"),
        (Standing(of=10, completed=3), 60, "`search.timeout` is over after 3 trials"),
        (Standing(of=10, completed=6, since_best=4), 0, "4 trials were no better"),
        (Standing(of=10, completed=1, failed=10), 0, ""),
        (Standing(of=10, completed=1, failed=11), 0, "11 trials failed"),
    ],
)
def test_when_a_search_is_over(standing: Standing, elapsed: float, reason: str) -> None:
    assert study.over(LIMITS, standing, elapsed).startswith(reason)
    assert bool(study.over(LIMITS, standing, elapsed)) is bool(reason)


def test_what_remains_is_told_at_the_pace_so_far_and_never_beyond_the_timeout() -> None:
    assert study.remaining(LIMITS, Standing(of=10), 5) is None
    assert study.remaining(LIMITS, Standing(of=10, completed=5), 20) == 20
    assert study.remaining(LIMITS, Standing(of=10, completed=1), 20) == 40


def test_the_document_of_a_search_fits_a_tag_with_the_longest_names() -> None:
    best = Best(number=1, value=0.5, parameters={"n" * 120 + str(n): "c" * 256 for n in range(32)})

    assert len(json.dumps(search.document(Standing(of=10, best=best)))) < 8000


def test_a_search_finds_parameters_and_the_final_fit_uses_them(
    world: World, flights: pd.DataFrame
) -> None:
    spec = {
        **FAST,
        "pipeline": {
            **FAST["pipeline"],
            "estimator": {"class": "LogisticRegression", "parameters": {"C": 0.01}},
        },
        "search": {
            "trials": 6,
            "parameters": [
                C,
                {"name": "columns__numeric__scaler", "categorical": {"choices": ["passthrough"]}},
            ],
        },
    }
    code, result = world.run(world.write(flights), spec)

    assert (code, result.outcome, result.version) == (Exit.RESULT, Outcome.PASSED, "1")
    run = world.client.get_run(result.run_id)
    nested = [each for each in world.runs() if "mlflow.parentRunId" in each.data.tags]
    assert len(nested) == 6
    first = next(each for each in nested if each.info.run_name == "trial-0")
    assert first.data.params["C"] == "0.01", "the spec's own value is tried first"
    assert {"roc_auc", "fold_roc_auc"} <= set(first.data.metrics)
    told = json.loads(run.data.tags[contract.TAG_SEARCH])
    assert (told["completed"], told["failed"], told["running"], told["of"]) == (6, 0, 0, 6)
    best = max(nested, key=lambda each: each.data.metrics["roc_auc"])
    assert best.info.run_name == f"trial-{told['best']['number']}"
    assert run.data.params["search.best.C"] == best.data.params["C"]
    assert run.data.metrics["cv_roc_auc_mean"] == pytest.approx(run.data.metrics["search_best"])
    plots = {each.path for each in world.client.list_artifacts(result.run_id, "plots")}
    assert {"plots/search-history.png", "plots/search-slice.png", "plots/roc.png"} <= plots
    card = world.client.download_artifacts(result.run_id, "model-card.md", str(world.folder))
    assert "yes: Optuna, TPE, 6 trials" in Path(card).read_text()


@pytest.mark.parametrize(
    ("parameter", "told"),
    [
        ({"name": "depth", "int": {"min": 1, "max": 2}}, "LogisticRegression has no parameter"),
        ({"name": "C", "uniform": {"min": "-1", "max": "1"}}, "`search.parameters` 'C' = -1.0:"),
        (
            {"name": "columns__scaler", "categorical": {"choices": ["1"]}},
            "the pipeline has no parameter 'columns__scaler'",
        ),
        (
            {"name": "penalty", "categorical": {"choices": ["l1"]}},
            "the search completed no trial of 4",
        ),
    ],
)
def test_a_space_that_the_estimator_contradicts_is_refused_with_its_field(
    world: World, flights: pd.DataFrame, parameter: dict[str, Any], told: str
) -> None:
    spec = {**FAST, "search": {"trials": 4, "parameters": [parameter]}}
    code, result = world.run(world.write(flights), spec)

    assert code is Exit.ERROR
    assert result.reason in (Reason.UNKNOWN_ESTIMATOR, Reason.TRAINER_FAILED)
    assert told in result.message
    assert "`search.parameters`" in result.message


def test_a_killed_search_goes_on_with_its_study_and_loses_one_trial(
    world: World, flights: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = world.write(flights)
    spec = {**FAST, "search": {"trials": 5, "parameters": [C]}}
    original = trials.Trials.end

    def die(self: trials.Trials, trial: trials.Trial, **named: Any) -> None:
        if trial.number == 2:
            raise Unavailable("the machine is gone")
        original(self, trial, **named)

    with monkeypatch.context() as patch:
        patch.setattr(trials.Trials, "end", die)
        assert program.run(world.environ(uri, spec)) is Exit.RETRY
    code, result = world.run(uri, spec)

    assert (code, result.version) == (Exit.RESULT, "1")
    nested = [each for each in world.runs() if "mlflow.parentRunId" in each.data.tags]
    states = {
        each.info.run_name: (json.loads(each.data.tags[contract.TAG_TRIAL])["state"])
        for each in nested
    }
    assert states.pop("trial-2") == "Lost"
    assert set(states.values()) == {"Complete"}
    assert len(states) == 5
    assert len({each.data.params["C"] for each in nested}) == 6, "no value was drawn twice"


def frozen(number: int, state: optuna.trial.TrialState, **more: Any) -> Any:
    made = optuna.trial.create_trial(state=state, **more)
    made.number = number
    return made


def test_a_grid_waits_for_no_point_that_cannot_be_fitted() -> None:
    grid = parse({"name": "n", "int": {"min": 1, "max": 3}}, sampler="Grid")
    states = optuna.trial.TrialState
    known = [
        frozen(0, states.COMPLETE, value=0.5),
        frozen(1, states.FAIL),
        frozen(2, states.FAIL, user_attrs={"lost": True}),
        frozen(3, states.PRUNED, value=0.4),
    ]
    standing = study.assess(grid, known)

    assert (standing.of, standing.ended, standing.failed, standing.since_best) == (2, 2, 2, 1)
    assert study.over(grid, standing, 0.0) == "2 of 3 trials ended"


class Tried:
    """A searcher without folds, whose trials are kept in memory."""

    def __init__(self, spec: Search, scores: Any) -> None:
        self.kept: dict[int, trials.Trial] = {}
        kept: Any = self
        given = recipe({"validation": {"folds": 6}})
        self.searcher = study.Searcher(given, spec, scores, kept, pod=0, url="")
        self.searcher.open()

    def begin(self, trial: trials.Trial) -> str:
        self.kept[trial.number] = trial
        return str(trial.number)

    def end(self, trial: trials.Trial, **_: Any) -> None:
        self.kept[trial.number] = trial

    def read(self) -> list[trials.Trial]:
        return list(self.kept.values())


@pytest.mark.parametrize("sampler", ["TPE", "Random", "Grid", "CMAES"])
def test_every_sampler_searches_and_grid_tries_every_point_once(sampler: str) -> None:
    spec = parse(
        {"name": "C", "int": {"min": 1, "max": 3}},
        {"name": "max_iter", "int": {"min": 5, "max": 6}},
        sampler=sampler,
        trials=6,
    )
    tried = Tried(spec, lambda steps: iter([float(steps.parameters["C"])] * 6))
    for _ in range(spec.of):
        tried.searcher.try_one()
    standing = tried.searcher.standing()

    assert standing.ended == 6
    assert standing.best is not None
    if sampler == "Grid":
        assert len({tuple(each.parameters.items()) for each in tried.kept.values()}) == 6
        assert standing.best.parameters["C"] == 3


@pytest.mark.parametrize("pruner", ["Wilcoxon", "Median", "Hyperband", "None"])
def test_a_poor_trial_is_ended_before_its_last_fold(pruner: str) -> None:
    spec = parse({"name": "C", "int": {"min": 0, "max": 11}}, pruner=pruner, sampler="Grid")
    fitted: list[int] = []

    def scores(steps: Any) -> Any:
        for fold in range(6):
            fitted.append(fold)
            yield (0.9 if len(fitted) <= 36 else 0.5) - fold / 100 + steps.parameters["C"] / 1000

    tried = Tried(spec, scores)
    for _ in range(12):
        tried.searcher.try_one()
    standing = tried.searcher.standing()

    assert (standing.pruned > 0) is (pruner != "None")
    assert (len(fitted) < 72) is (pruner != "None")
    assert standing.best is not None
    assert standing.best.value > 0.8
