"""Which fields are live: what is not yet built is refused by name, never ignored in silence."""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, Final, NamedTuple

from pydantic.fields import FieldInfo

from linnet.api.shared import Issue, Model, Resource, ValueIssue

LIVE_ISSUE: Final = 2
"""Fields of this issue and of those before it do something."""


def not_yet_supported(spec: Model, live: int = LIVE_ISSUE) -> tuple[str, ...]:
    """Return the sorted paths of what `spec` asks for and this version cannot do.

    A path is `spec.search`, or `spec.task 'Regression'` where the field is live and only the value
    is not. Elements of lists are counted from 0.
    """
    return tuple(sorted(_later(spec, "spec", live)))


def kind_is_live(kind: type[Resource], live: int = LIVE_ISSUE) -> bool:
    """Return whether this version does anything for objects of that kind."""
    return live >= kind.ISSUE


def message_not_supported(paths: Sequence[str]) -> str:
    """Return the sentence of the condition `Stalled/NotYetSupported`."""
    verb, them = ("is", "it") if len(paths) == 1 else ("are", "them")
    return (
        f"{', '.join(sorted(paths))} {verb} not supported by this version of Linnet: "
        f"remove {them} or upgrade"
    )


def message_kind_not_supported(kind: type[Resource]) -> str:
    """Return the sentence for a kind that this version leaves alone."""
    return f"{kind.KIND} is not supported by this version of Linnet: upgrade"


class _Field(NamedTuple):
    attribute: str
    alias: str
    issue: int
    values: tuple[tuple[str, int], ...]
    """Values that are live later than the field, and from which issue on."""
    default: Any


@cache
def _fields(kind: type[Model]) -> tuple[_Field, ...]:
    """The fields of a model, looked up once: every pass asks."""
    return tuple(
        _Field(
            attribute=attribute,
            alias=str(field.alias),
            issue=_issue(field),
            values=_value_issues(field),
            default=field.get_default(call_default_factory=True),
        )
        for attribute, field in kind.model_fields.items()
    )


def _later(value: Model, path: str, live: int) -> Iterator[str]:
    for field in _fields(type(value)):
        given = getattr(value, field.attribute)
        at = f"{path}.{field.alias}"
        if field.issue > live:
            if given != field.default:
                yield at
            continue
        later = {value for value, issue in field.values if issue > live}
        values = given if isinstance(given, tuple) else (given,)
        yield from (f"{at} '{each}'" for each in values if isinstance(each, str) and each in later)
        if isinstance(given, Model):
            yield from _later(given, at, live)
        elif isinstance(given, tuple):
            yield from _later_elements(given, at, live)


def _later_elements(given: tuple[Any, ...], path: str, live: int) -> Iterator[str]:
    for index, element in enumerate(given):
        if isinstance(element, Model):
            yield from _later(element, f"{path}[{index}]", live)


def _issue(field: FieldInfo) -> int:
    return next((each.number for each in field.metadata if isinstance(each, Issue)), 0)


def _value_issues(field: FieldInfo) -> tuple[tuple[str, int], ...]:
    return next((each.issues for each in field.metadata if isinstance(each, ValueIssue)), ())
