"""The types that every resource shares: the base model, bounded strings, durations, times.

A constraint is written once, as a type here, and holds twice: in the CRD, where the API server
refuses bad input, and in the model, where an object that came in under an older CRD is refused as
`InvalidSpec`. `schema` turns the markers of this module into the vendor keys of Kubernetes.

How a default is written decides where it lives: a plain default is in the CRD too, `None` and
`default_factory` are not (the operator fills those values in when it uses them).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias

from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)
from pydantic.alias_generators import to_camel
from pydantic.annotated_handlers import GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

GROUP: Final = "linnet.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"

Json: TypeAlias = dict[str, Any]


# Markers in annotations


@dataclass(frozen=True, slots=True)
class Rule:
    """A CEL rule of the API server; `message` is what the user reads when it is broken."""

    cel: str
    message: str

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return _with_rules(handler(core_schema), (self,))


@dataclass(frozen=True, slots=True)
class Extension:
    """Keys that are added to the schema as they are, such as `x-kubernetes-list-type`."""

    keys: tuple[tuple[str, Any], ...]
    drop: tuple[str, ...] = ()

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler(core_schema)
        return {k: v for k, v in schema.items() if k not in self.drop} | dict(self.keys)


@dataclass(frozen=True, slots=True)
class Issue:
    """The issue that makes a field live; until then a value other than the default is refused."""

    number: int

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {**handler(core_schema), "x-linnet-issue": self.number}


@dataclass(frozen=True, slots=True)
class ValueIssue:
    """Single values of a live field that become live with a later issue."""

    issues: tuple[tuple[str, int], ...]

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {**handler(core_schema), "x-linnet-value-issues": dict(self.issues)}


@dataclass(frozen=True, slots=True)
class Computed:
    """What stands in the reference as the default of a field that the CRD leaves open."""

    text: str

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {**handler(core_schema), "x-linnet-computed": self.text}


def by(key: str) -> Extension:
    """Make a list one of named objects: merged by `key`, which may not be repeated."""
    return Extension((("x-kubernetes-list-type", "map"), ("x-kubernetes-list-map-keys", (key,))))


SET: Final = Extension((("x-kubernetes-list-type", "set"),))
BY_NAME: Final = by("name")


def exactly_one(message: str, *fields: str) -> Rule:
    """A union: exactly one of `fields` is present."""
    return Rule(f"[{_presence(fields)}].filter(x, x).size() == 1", message)


def at_most_one(message: str, *fields: str) -> Rule:
    """A union that may stay empty."""
    return Rule(f"[{_presence(fields)}].filter(x, x).size() <= 1", message)


def _presence(fields: tuple[str, ...]) -> str:
    return ", ".join(f"has(self.{field})" for field in fields)


def _with_rules(schema: JsonSchemaValue, rules: tuple[Rule, ...]) -> JsonSchemaValue:
    """Return the schema with `rules` behind those that it has; the given one stays as it was."""
    validations = [
        *schema.get("x-kubernetes-validations", ()),
        *({"rule": rule.cel, "message": rule.message} for rule in rules),
    ]
    return {**schema, "x-kubernetes-validations": validations}


# Base models


class Model(BaseModel):
    """A frozen value with camelCase names outside and snake_case names inside.

    Unknown fields are ignored, so that an older operator survives a newer object.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        serialize_by_alias=True,
        frozen=True,
        extra="ignore",
        use_attribute_docstrings=True,
        protected_namespaces=(),
    )

    RULES: ClassVar[tuple[Rule, ...]] = ()

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler(core_schema)
        if cls.RULES:
            resolved = handler.resolve_ref_schema(schema)
            resolved.update(_with_rules(resolved, cls.RULES))
        return schema

    def manifest(self) -> Json:
        """Return the object as the API server wants it: camelCase, absent fields left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class Metadata(Model):
    """The part of an object's metadata that Linnet reads."""

    name: str
    namespace: str = "default"
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    labels: Mapping[str, str] = Field(default_factory=dict)
    annotations: Mapping[str, str] = Field(default_factory=dict)


class Resource(Model):
    """One object of one of our kinds; the kinds add `spec` and `status`."""

    KIND: ClassVar[str]
    PLURAL: ClassVar[str]
    SHORT_NAME: ClassVar[str]
    ISSUE: ClassVar[int]

    api_version: str = API_VERSION
    kind: str
    metadata: Metadata


# Strings


TIME_PATTERN: Final = (
    r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T\d{2}:\d{2}:\d{2}(Z|[+-]\d{2}:\d{2})"
)
_DURATION: Final = re.compile(r"([0-9]{1,6}(ms|s|m|h))+")
_DURATION_PART: Final = re.compile(r"([0-9]{1,6})(ms|s|m|h)")
_QUANTITY: Final = re.compile(r"([1-9][0-9]{0,9})(Ki|Mi|Gi)?")
_TIME: Final = re.compile(TIME_PATTERN, re.ASCII)

_UNITS: Final = {
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}
_BYTES: Final = {None: 1, "Ki": 1024, "Mi": 1024**2, "Gi": 1024**3}


def parse_duration(text: str) -> timedelta:
    """Return the length of a Go duration such as `1h30m` or `50ms`.

    Raises:
        ValueError: the text is not of the form that the API accepts.
    """
    if _DURATION.fullmatch(text) is None:
        raise ValueError(f"'{text}' must be a duration such as 30s, 10m or 168h")
    parts = _DURATION_PART.findall(text)
    return sum((int(number) * _UNITS[unit] for number, unit in parts), timedelta())


def format_duration(length: timedelta) -> str:
    """Return a Go duration, hours at most and without parts that are zero: `1h30m`, `0s`.

    What lies below a millisecond is cut off. Raises ValueError for a negative length.
    """
    if length < timedelta():
        raise ValueError(f"a duration must not be negative, but {length} is")
    text = ""
    for unit, size in _UNITS.items():
        count, length = divmod(length, size)
        if count:
            text += f"{count}{unit}"
    return text or "0s"


def parse_time(text: str) -> datetime:
    """Return the aware datetime of an RFC 3339 time with whole seconds, in UTC.

    Raises:
        ValueError: the text has another form, or names a day that does not exist.
    """
    if _TIME.fullmatch(text) is None:
        raise ValueError(f"'{text}' must be a time such as 2026-11-23T10:00:00Z")
    return datetime.fromisoformat(text).astimezone(UTC)


def format_time(time: datetime) -> str:
    """Return RFC 3339 in UTC with whole seconds, cut and not rounded: `2026-11-23T10:00:00Z`.

    Raises ValueError for a naive datetime, whose meaning would depend on the machine.
    """
    if time.tzinfo is None:
        raise ValueError("a time must be aware of its zone")
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_quantity(text: str) -> int:
    """Return the number (of bytes) that a quantity such as `10Mi` stands for."""
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(f"'{text}' must be a quantity such as 512Ki, 10Mi or 2Gi")
    return int(match[1]) * _BYTES[match[2]]


def cut(text: str, length: int) -> str:
    """Return at most `length` characters, the last one `…` where something was cut off."""
    return text if len(text) <= length else text[: length - 1] + "…"


def _checked_time(text: str) -> str:
    parse_time(text)
    return text


Text9: TypeAlias = Annotated[str, MaxLen(9)]
Text24: TypeAlias = Annotated[str, MaxLen(24)]
Text63: TypeAlias = Annotated[str, MaxLen(63)]
Text64: TypeAlias = Annotated[str, MaxLen(64)]
Text71: TypeAlias = Annotated[str, MaxLen(71)]
Text128: TypeAlias = Annotated[str, MaxLen(128)]
Text249: TypeAlias = Annotated[str, MaxLen(249)]
Text250: TypeAlias = Annotated[str, MaxLen(250)]
Text253: TypeAlias = Annotated[str, MaxLen(253)]
Text256: TypeAlias = Annotated[str, MaxLen(256)]
Text512: TypeAlias = Annotated[str, MaxLen(512)]
Text1024: TypeAlias = Annotated[str, MaxLen(1024)]
Text2048: TypeAlias = Annotated[str, MaxLen(2048)]
Text4096: TypeAlias = Annotated[str, MaxLen(4096)]
Message: TypeAlias = Annotated[
    str,
    BeforeValidator(lambda text: cut(text, 1024) if isinstance(text, str) else text),
    MaxLen(1024),
]
"""A sentence in status, cut at 1024 characters."""

Name: TypeAlias = Annotated[
    str, StringConstraints(max_length=63, pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$"), MinLen(1)
]
ResourceName: TypeAlias = Annotated[
    str, StringConstraints(max_length=40, pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$"), MinLen(1)
]
"""The name of one of our resources, which leaves room for the names of its children."""
Column: TypeAlias = Annotated[str, MinLen(1), MaxLen(128)]
Columns: TypeAlias = Annotated[tuple[Column, ...], MaxLen(512), SET]
Uri: TypeAlias = Annotated[
    str, MinLen(1), StringConstraints(max_length=1024, pattern=r"^(s3|gs|file|pvc)://[^\s]+$")
]
Duration: TypeAlias = Annotated[
    str, StringConstraints(max_length=20, pattern=r"^([0-9]{1,6}(ms|s|m|h))+$")
]
Time: TypeAlias = Annotated[
    str,
    StringConstraints(max_length=25, pattern=f"^{TIME_PATTERN}$"),
    AfterValidator(_checked_time),
]
Ratio: TypeAlias = Annotated[
    str, StringConstraints(max_length=12, pattern=r"^(0(\.[0-9]{1,8})?|1(\.0{1,8})?)$")
]
Distance: TypeAlias = Annotated[
    str, StringConstraints(max_length=18, pattern=r"^[0-9]{1,9}(\.[0-9]{1,8})?$")
]
Number: TypeAlias = Annotated[
    str,
    StringConstraints(max_length=24, pattern=r"^-?[0-9]{1,12}(\.[0-9]{1,9})?(e-?[0-9]{1,2})?$"),
]
Percent: TypeAlias = Annotated[int, Ge(1), Le(100)]
Scorer: TypeAlias = Annotated[str, MinLen(1), MaxLen(64)]
Quantity: TypeAlias = Annotated[
    str, StringConstraints(max_length=16, pattern=r"^[1-9][0-9]{0,9}(Ki|Mi|Gi)?$")
]
ModelName: TypeAlias = Annotated[
    str,
    MinLen(1),
    MaxLen(128),
    # A rule, because a pattern cannot say where the stage of a `models:/x/Production` has gone.
    Rule(
        "self.matches('^[A-Za-z0-9]([A-Za-z0-9 ._-]*[A-Za-z0-9])?$')",
        "model.name must be a registered model's, of letters, digits, ' ', '.', '_' and '-'; "
        "write an alias where you would write a stage or a models:/ URI",
    ),
]
Alias: TypeAlias = Annotated[str, StringConstraints(max_length=64, pattern=r"^[A-Za-z0-9_-]*$")]
Version: TypeAlias = Annotated[str, StringConstraints(max_length=9, pattern=r"^[1-9][0-9]*$")]
Grid: TypeAlias = Literal[
    "1", "1.05", "1.1", "1.15", "1.2", "1.25", "1.3", "1.4", "1.5", "1.75", "2", "2.5", "3", "4",
    "5", "6", "8", "10", "15", "20", "30",
]  # fmt: skip
MarginGrid: TypeAlias = Literal[
    "1.05", "1.1", "1.15", "1.2", "1.25", "1.3", "1.4", "1.5", "1.75", "2", "2.5", "3", "4",
    "5", "6", "8", "10", "15", "20", "30",
]  # fmt: skip
Int64: TypeAlias = Annotated[int, Extension((("format", "int64"),))]
Count: TypeAlias = Annotated[int, Ge(0), Extension((("format", "int64"),))]
ProbabilityRule: Final = "double(self) >= 0.001 && double(self) <= 0.5"


def alias_not_reserved(field: str) -> Rule:
    """MLflow gives `latest` and `v3` a meaning of their own."""
    return Rule(
        "self != 'latest' && !self.matches('^v[0-9]+$')",
        f"{field} must not be 'latest' or 'v<number>': MLflow reserves them",
    )


# Status of all kinds


class RequestOutcome(StrEnum):
    """What became of a request."""

    DONE = "Done"
    REFUSED = "Refused"
    PENDING = "Pending"


class RequestStatus(Model):
    """The answer to the newest request that was made with the annotation `linnet.dev/request`."""

    verb: Text64
    """What was asked for."""
    revision: Text63 | None = None
    """The revision that the request named."""
    time: Time
    """The time that the request carries; a request that is not newer is ignored."""
    outcome: RequestOutcome
    """Done, Refused or Pending."""
    message: Message = ""
    """What was done, or why not."""
