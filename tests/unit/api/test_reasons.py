"""Reasons: each has a meaning, a place, and a form that Kubernetes accepts."""

import re

from linnet.api import conditions
from linnet.api.reasons import BY_CONDITION, EVENTS, MEANING, REJECTIONS, Reason


def test_every_reason_has_a_meaning_in_sentences() -> None:
    assert set(MEANING) == set(Reason)
    for reason, meaning in MEANING.items():
        assert re.fullmatch(r"(`\w|[A-Z]).*\.", meaning), reason


def test_every_reason_has_a_place() -> None:
    by_condition = {r for kind in BY_CONDITION.values() for types in kind.values() for r in types}
    by_event = {reason for kind in EVENTS.values() for reason in kind}

    assert by_condition | by_event | set(REJECTIONS) == set(Reason)


def test_every_condition_of_a_kind_has_its_reasons() -> None:
    for kind, types in conditions.TYPES.items():
        assert tuple(BY_CONDITION[kind]) == types


def test_conditions_that_are_always_there_can_be_unknown() -> None:
    for kind in BY_CONDITION.values():
        for type_, reasons in kind.items():
            always = type_ not in conditions.ONLY_WHILE_TRUE
            assert (Reason.NOT_JUDGED_YET in reasons) is always, type_


def test_no_condition_names_a_reason_twice() -> None:
    for kind in BY_CONDITION.values():
        for reasons in kind.values():
            assert len(set(reasons)) == len(reasons)


def test_reasons_have_the_form_that_the_definition_asks_for() -> None:
    for reason in Reason:
        assert re.fullmatch(r"[A-Z][A-Za-z]{0,63}", reason)
