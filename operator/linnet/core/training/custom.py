"""What a program of the user's must have answered before its result counts (`spec.custom`).

It is trusted to measure, not to leave out: every gate of the spec and every standing check is
answered by its name, the figures agree with what is claimed, and the version is one that the
registry has and this job made. What does not hold ends the job with `InvalidResult`, without alias.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta

from linnet_trainer import contract
from linnet_trainer.contract import Check, GateReason, Outcome
from pydantic import ValidationError

from linnet.api import labels
from linnet.api.reasons import Reason
from linnet.api.shared import parse_duration, parse_quantity
from linnet.api.training_job import Gate, Result, Task
from linnet.core import jobs
from linnet.core.plan import Finding
from linnet.core.training.state import Observation

Test = Callable[[Observation, contract.Result], str]


def parse(text: str) -> contract.Result:
    """Read a result document that a program of the user's wrote.

    Raises:
        ValueError: it is too long, no JSON, or lacks a field; the text names the field.
    """
    size = len(text.encode())
    if size > contract.RESULT_BYTES:
        raise ValueError(
            f"it has {size} bytes and must have at most {contract.RESULT_BYTES}: shorten the "
            "messages of the gates"
        )
    try:
        read = Result.model_validate_json(text, strict=True)
    except ValidationError as error:
        raise ValueError(_first(error)) from error
    for field, named in (("metrics", read.metrics), ("gates", read.gates)):
        names = [each.name for each in named or ()]
        if twice := next((name for name in names if names.count(name) > 1), ""):
            raise ValueError(f"`{field}` has '{twice}' twice: a name stands once")
    return contract.parse(text)


def _first(error: ValidationError) -> str:
    """The first thing that is wrong, with the field as the document writes it."""
    first = error.errors()[0]
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
    # Of text that is no JSON there is no field to name.
    return f"`{where[1:]}`: {first['msg']}" if where else first["msg"]


def unreadable(seen: Observation) -> Finding:
    """Why none of the texts that an ended job left is its result document."""
    for text in reversed(jobs.results(seen.pods, seen.run)):
        if not text.lstrip().startswith("{"):
            continue  # the end of a log
        return Finding(
            Reason.INVALID_RESULT,
            f"the result document cannot be read: {_fault(text)}. Correct what the image of "
            "`template.image` writes",
        )
    words = jobs.last_words(seen.pods)
    return Finding(
        Reason.INVALID_RESULT,
        "the image of `template.image` ended without a result document"
        f"{f' ({words})' if words else ''}: it must set the tag '{contract.TAG_RESULT}' of a run "
        f"with this job's tags, or write the document to {contract.TERMINATION_LOG}",
    )


def _fault(text: str) -> str:
    try:
        parse(text)
    except ValueError as error:
        return str(error)
    return "`specHash` and `jobUID` must be those of spec.json"


def claims(seen: Observation, found: contract.Result) -> bool:
    """Whether the registry must be asked before this result is believed."""
    return seen.spec.custom is not None and found.outcome is Outcome.PASSED


def doubt(seen: Observation, found: contract.Result) -> Finding | None:
    """Why a readable result is not believed, or None where it is.

    An error is: nobody gains by it. Of a result that `claims` a version the registry was read.
    """
    if found.outcome is Outcome.ERROR:
        return None
    said = next((text for test in TESTS if (text := test(seen, found))), "")
    if not said:
        return None
    left = (
        f". Version {found.version} was not taken, no alias was moved to it"
        if found.version
        else ""
    )
    return Finding(Reason.INVALID_RESULT, f"{said}{left}")


def gates_are_answered(seen: Observation, found: contract.Result) -> str:
    """Nothing that was asked is left out; what has no room is (the standing checks come last)."""
    answered = {gate.name for gate in found.gates}
    gates = [f"'{gate.name}'" for gate in seen.spec.gates if gate.name not in answered]
    full = len(found.gates) >= contract.GATES
    standing = () if full else _standing(seen, found)
    checks = [f"'{check}'" for check in standing if check not in answered]
    left = [
        *([f"{_listed(gates, 'gate')} of `spec.gates`"] if gates else []),
        *([f"the standing {_listed(checks, 'check')}"] if checks else []),
    ]
    if not left:
        return ""
    return (
        f"the result leaves out {' and '.join(left)}: answer each by its name in `gates`, or let a "
        "standing check go in `spec.waivers` with a reason"
    )


def _standing(seen: Observation, found: contract.Result) -> Iterator[str]:
    """The standing checks that this result must answer."""
    waived = {waiver.check for waiver in seen.spec.waivers or ()}
    for check in Check:
        if check in waived:
            continue
        if seen.spec.task is Task.CLUSTERING and check is not Check.REPRODUCIBLE:
            continue
        if check is Check.IMBALANCE and seen.spec.task is not Task.CLASSIFICATION:
            continue
        # The spec's own gate tunes the check and stands in its place.
        if check is Check.SCHEMA and any(gate.schema_ is not None for gate in seen.spec.gates):
            continue
        # A second fit is made only of a model that nothing else refused.
        if check is Check.REPRODUCIBLE and found.outcome is not Outcome.PASSED:
            continue
        yield check.value


def _listed(names: Sequence[str], noun: str) -> str:
    return f"{noun}{'s' if len(names) > 1 else ''} {', '.join(names)}"


def outcome_follows(seen: Observation, found: contract.Result) -> str:
    """The outcome is what the gates say."""
    refused = [gate.name for gate in found.gates if not gate.passed]
    if found.outcome is Outcome.PASSED and refused:
        return f"`outcome` is 'Passed', and gate '{refused[0]}' refused: it must be 'Refused'"
    if found.outcome is Outcome.REFUSED and not refused:
        return "`outcome` is 'Refused', and every gate passed: it must be 'Passed'"
    return ""


def waivers_are_the_specs(seen: Observation, found: contract.Result) -> str:
    """Only the spec lets a check go, and it lets no gate of its own go."""
    waived = {waiver.check for waiver in seen.spec.waivers or ()}
    schemas = {gate.name for gate in seen.spec.gates if gate.schema_ is not None}
    for gate in found.gates:
        check = Check.SCHEMA.value if gate.name in schemas else gate.name
        if gate.reason is GateReason.WAIVED and check not in waived:
            return f"gate '{gate.name}' says 'Waived', and `spec.waivers` has no such check"
    return ""


def figures_agree(seen: Observation, found: contract.Result) -> str:
    """A gate that passed has the figure that lets it pass."""
    answers = {gate.name: gate for gate in found.gates}
    for asked in seen.spec.gates:
        answer = answers[asked.name]
        said = _disagreement(seen, asked, answer) if answer.passed else ""
        if said:
            return f"gate '{asked.name}' says that it passed, and {said}"
    return ""


def _disagreement(seen: Observation, asked: Gate, answer: contract.Gate) -> str:
    if asked.minimum is not None:
        return _must(answer, "value", ">=", float(asked.minimum), asked.minimum)
    if asked.not_worse_than is not None:
        if answer.reason is GateReason.NO_CHAMPION:
            return _no_champion(seen)
        margin = asked.margin or "0.02"
        return _must(answer, "bound", ">", -float(margin), f"-{margin}")
    if asked.overfit is not None:
        return _must(answer, "value", "<=", float(asked.overfit.max_drop), asked.overfit.max_drop)
    if asked.fairness is not None:
        told = asked.fairness.max_difference
        return _must(answer, "value", "<=", float(told), told)
    if asked.size is not None:
        told = asked.size.maximum
        return _must(answer, "value", "<=", parse_quantity(told), told)
    if asked.latency is not None:
        told = asked.latency.maximum
        return _must(answer, "value", "<=", parse_duration(told) / timedelta(milliseconds=1), told)
    return ""


def _must(answer: contract.Gate, field: str, sign: str, limit: float, told: str) -> str:
    """Why a figure of the answer is not on the right side of its limit."""
    text = answer.bound if field == "bound" else answer.value
    figure = _number(text)
    held = {">=": figure >= limit, ">": figure > limit, "<=": figure <= limit}[sign]
    return "" if held else f"its `{field}` is '{text}' and must be a number {sign} {told}"


def _number(text: str) -> float:
    """The figure of a document, a latency in ms; NaN, which no limit holds for, of other text."""
    try:
        return float(text.removesuffix("ms"))
    except ValueError:
        return math.nan


def _no_champion(seen: Observation) -> str:
    alias = seen.spec.model.champion_alias
    version = seen.model.aliases.get(alias) if seen.model is not None else None
    if version is None:
        return ""
    return f"its reason is 'NoChampion', although alias '{alias}' names version {version}"


def version_is_its_own(seen: Observation, found: contract.Result) -> str:
    """The version that a passed result names exists and was made by this job."""
    if found.outcome is not Outcome.PASSED:
        return ""
    name = seen.spec.model.name
    if not found.version:
        return "`outcome` is 'Passed' and `version` is missing: register the model, then name it"
    version = seen.model.versions.get(found.version) if seen.model is not None else None
    if version is None:
        return (
            f"the result names version {found.version} of '{name}', which the registry does not "
            "have: create the version before the result is written"
        )
    made_by = version.tags.get(labels.VERSION_JOB_UID, "")
    if made_by != found.job_uid:
        return (
            f"version {found.version} of '{name}' has the tag '{labels.VERSION_JOB_UID}' "
            f"'{made_by}', which is not this job's: create a version with '{found.job_uid}'"
        )
    return ""


TESTS: tuple[Test, ...] = (
    gates_are_answered,  # a gate that is not answered has not passed
    outcome_follows,  # a refused model is no passed one
    waivers_are_the_specs,  # a program lets no check go by itself
    figures_agree,  # a claim without its figure is none
    version_is_its_own,  # an alias never moves to what another job made, or to nothing
)
