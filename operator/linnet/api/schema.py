"""Models to structural OpenAPI: what the API server is told about our three kinds.

Kubernetes takes a subset of JSON schema, and pydantic writes a superset of it. `structural` closes
the gap; `violations` is the linter that says what an API server would refuse, or what it would let
grow without a bound. A definition is a plain dictionary in the order in which a person would
write it; `dev/generate.py` makes files of it.
"""

from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from linnet.api.drift_policy import DriftPolicy
from linnet.api.model_deployment import ModelDeployment
from linnet.api.shared import GROUP, VERSION, Json, Resource
from linnet.api.support import LIVE_ISSUE
from linnet.api.training_job import TrainingJob

KINDS: Final[tuple[type[Resource], ...]] = (TrainingJob, ModelDeployment, DriftPolicy)

MARK: Final = "x-linnet-"
"""Keys for the reference pages; they never reach a definition."""

VALIDATIONS: Final = "x-kubernetes-validations"

_ORDER: Final = (
    "description", "type", "format", "default", "enum", "pattern", "minLength", "maxLength",
    "minimum", "maximum", "minItems", "maxItems", "maxProperties", "items", "properties",
    "additionalProperties", "required", "x-kubernetes-int-or-string",
    "x-kubernetes-preserve-unknown-fields", "x-kubernetes-list-type", "x-kubernetes-list-map-keys",
    VALIDATIONS,
)  # fmt: skip

NAME_RULE: Final = {
    "rule": "self.metadata.name.matches('^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$')",
    "message": (
        "metadata.name must have at most 40 characters: lower-case letters, digits and '-', a "
        "letter first, no '-' at the end"
    ),
}


def _condition(type: str, field: str) -> str:
    return f'.status.conditions[?(@.type=="{type}")].{field}'


_AGE: Final = ("Age", "date", ".metadata.creationTimestamp", "When the object was made.")

# Name, type, path, description; those after None are shown by `-o wide` only.
_COLUMNS: Final[dict[str, tuple[tuple[str, str, str, str] | None, ...]]] = {
    "TrainingJob": (
        ("Status", "string", _condition("Complete", "reason"), "Where the training stands."),
        ("Progress", "integer", ".status.progress.percent", "How much of it is done, in percent."),
        ("Model", "string", ".spec.model.name", "The registered model."),
        ("Version", "string", ".status.version", "The version that was registered."),
        ("Metric", "string", ".status.metrics[0].value", "The first figure of the holdout."),
        _AGE,
        None,
        ("Run", "string", ".status.run.url", "Link to the MLflow run."),
        ("Job", "string", ".status.jobName", "The Job that trains."),
        ("Message", "string", _condition("Complete", "message"), "The status in a sentence."),
    ),
    "ModelDeployment": (
        ("Ready", "string", _condition("Ready", "status"), "Whether spec is met."),
        ("Status", "string", _condition("Ready", "reason"), "Where the deployment stands."),
        ("Strategy", "string", ".status.step.label", "Step of the rollout that runs."),
        ("Weight", "integer", ".status.weight", "The candidate's share of traffic, in percent."),
        ("Champion", "string", ".status.champion.version", "The version that serves."),
        ("Candidate", "string", ".status.candidate.version", "The version that is on trial."),
        _AGE,
        None,
        ("URL", "string", ".status.url", "Where the model answers."),
        ("E", "string", ".status.analysis.e", "Evidence that the candidate is worse."),
        ("Replicas", "integer", ".status.replicas.championReady", "Ready pods of the champion."),
        ("Message", "string", _condition("Ready", "message"), "The status in a sentence."),
    ),
    "DriftPolicy": (
        ("Target", "string", ".spec.modelDeploymentRef.name", "The deployment that is watched."),
        ("Status", "string", _condition("Ready", "reason"), "Whether data arrive and are judged."),
        ("Drifted", "string", _condition("Drifted", "status"), "Whether the last window differs."),
        ("Score", "string", ".status.lastCheck.score", "Statistic by threshold; above 1 is drift."),
        ("Last-Check", "date", ".status.lastCheckTime", "When the last check ended."),
        _AGE,
        None,
        ("Window", "string", ".status.lastCheck.window.until", "End of the last window."),
        ("Retraining", "string", _condition("Retraining", "reason"), "Whether a retraining runs."),
        ("Report", "string", ".status.lastCheck.reportURL", "Link to the last report."),
        ("Message", "string", _condition("Ready", "message"), "The status in a sentence."),
    ),
}


def definition(kind: type[Resource]) -> Json:
    """Return the CustomResourceDefinition of a kind."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{kind.PLURAL}.{GROUP}",
            "labels": {"app.kubernetes.io/part-of": "linnet"},
        },
        "spec": {
            "group": GROUP,
            "names": {
                "kind": kind.KIND,
                "listKind": f"{kind.KIND}List",
                "plural": kind.PLURAL,
                "singular": kind.KIND.lower(),
                "shortNames": [kind.SHORT_NAME],
                "categories": ["linnet"],
            },
            "scope": "Namespaced",
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": list(_columns(kind)),
                    "schema": {"openAPIV3Schema": root(kind)},
                }
            ],
        },
    }


def root(kind: type[Resource], *, marks: bool = False) -> Json:
    """Return the structural schema of a whole object.

    With `marks` the keys for the reference pages stay in it.
    """
    schema = structural(kind, marks=marks)
    fields = schema["properties"]
    return {
        "description": schema["description"],
        "type": "object",
        "properties": {
            "apiVersion": {"description": f"Always {GROUP}/{VERSION}.", "type": "string"},
            "kind": {"description": f"Always {kind.KIND}.", "type": "string"},
            # The API server describes metadata itself and refuses our words.
            "metadata": {"type": "object"},
            "spec": fields["spec"],
            "status": fields["status"],
        },
        "required": ["spec"],
        VALIDATIONS: [NAME_RULE],
    }


def structural(model: type[BaseModel], *, marks: bool = False) -> Json:
    """Return the schema of a model with references inlined and in the form of Kubernetes.

    Raises:
        ValueError: a model contains itself, or a tuple of fixed length.
    """
    schema = model.model_json_schema(by_alias=True, schema_generator=_Generator)
    return _structural(schema, schema.pop("$defs", {}), (), marks=marks)


class _Generator(GenerateJsonSchema):
    """Writes defaults as a person would: what was said, not what it fills in to."""

    def encode_default(self, dft: Any) -> Any:
        return _written(dft)


def _written(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True, exclude_unset=True)
    if isinstance(value, tuple):
        return [_written(each) for each in value]
    return value.value if isinstance(value, Enum) else value


def _structural(schema: Json, defs: Json, inside: tuple[str, ...], *, marks: bool) -> Json:
    schema, inside = _resolved(schema, defs, inside)
    if "description" in schema:
        schema["description"] = _described(schema)
    if "prefixItems" in schema:
        raise ValueError("a tuple of fixed length has no structural form")
    if "const" in schema:
        schema["enum"] = [schema.pop("const")]
    if schema.get("default", ...) is None:
        del schema["default"]
    if schema.get("additionalProperties") is True:
        schema["additionalProperties"] = {"x-kubernetes-preserve-unknown-fields": True}
    elif "additionalProperties" in schema:
        schema["additionalProperties"] = _structural(
            schema["additionalProperties"], defs, inside, marks=marks
        )
    if "items" in schema:
        schema["items"] = _structural(schema["items"], defs, inside, marks=marks)
    if "properties" in schema:
        schema["properties"] = {
            name: _structural(each, defs, inside, marks=marks)
            for name, each in schema["properties"].items()
        }
    if "x-kubernetes-list-map-keys" in schema:
        schema["x-kubernetes-list-map-keys"] = list(schema["x-kubernetes-list-map-keys"])
    if VALIDATIONS in schema:
        schema[VALIDATIONS] = [
            {"rule": each["rule"], "message": each["message"]} for each in schema[VALIDATIONS]
        ]
    schema.pop("title", None)
    kept = schema.items() if marks else ((k, v) for k, v in schema.items() if MARK not in k)
    return dict(sorted(kept, key=lambda item: _place(item[0])))


def _described(schema: Json) -> str:
    """Return the sentence of the model with what else `kubectl explain` should say."""
    text = " ".join(schema["description"].split())
    if f"{MARK}computed" in schema:
        text += f" Default: {schema[f'{MARK}computed']}."
    if schema.get(f"{MARK}issue", 0) > LIVE_ISSUE:
        text += " Not yet supported."
    values = schema.get(f"{MARK}value-issues", {}).items()
    if later := [value for value, issue in values if issue > LIVE_ISSUE]:
        text += f" Not yet supported: {', '.join(later)}."
    return text


def _resolved(schema: Json, defs: Json, inside: tuple[str, ...]) -> tuple[Json, tuple[str, ...]]:
    """Inline references and optional types; what stands beside them wins, rules are added up."""
    schema = dict(schema)
    while True:
        if "$ref" in schema:
            name = schema.pop("$ref").removeprefix("#/$defs/")
            if name in inside:
                raise ValueError(f"{name} contains itself: a structural schema cannot")
            inside = (*inside, name)
            base = defs[name]
        elif "anyOf" in schema:
            options = [each for each in schema.pop("anyOf") if each.get("type") != "null"]
            if len(options) != 1:
                raise ValueError("only `T | None` has a structural form")
            base = options[0]
        else:
            return schema, inside
        rules = [*base.get(VALIDATIONS, ()), *schema.get(VALIDATIONS, ())]
        schema = {**base, **schema} | ({VALIDATIONS: rules} if rules else {})


def _place(key: str) -> int:
    return _ORDER.index(key) if key in _ORDER else len(_ORDER)


def _columns(kind: type[Resource]) -> Iterator[Json]:
    priority = 0
    for column in _COLUMNS[kind.KIND]:
        if column is None:
            priority = 1
            continue
        name, type, path, description = column
        yield {
            "name": name,
            "type": type,
            "description": description,
            "jsonPath": path,
            **({"priority": priority} if priority else {}),
        }


# The linter


def violations(schema: Json) -> tuple[str, ...]:
    """Return what a structural, bounded and described schema of an object must not have."""
    problems: list[str] = []
    for name, field in schema["properties"].items():
        if name in ("spec", "status"):
            problems.extend(f"{path}: {problem}" for path, problem in _violations(field, name))
    return tuple(problems)


def _violations(schema: Json, path: str, described: bool = True) -> Iterator[tuple[str, str]]:
    problems: dict[str, bool] = {
        "keys without a structural form: " + ", ".join(sorted(set(schema) - set(_ORDER))): not set(
            schema
        )
        <= set(_ORDER),
        "no type": not _has_type(schema),
        "no description": described and not schema.get("description", "").endswith("."),
        "a default of null": schema.get("default", ...) is None,
        "a string without maxLength": schema.get("type") == "string"
        and not {"maxLength", "enum"} & set(schema),
        "a list without maxItems or items": schema.get("type") == "array"
        and not {"maxItems", "items"} <= set(schema),
        "a map without maxProperties": "additionalProperties" in schema
        and "maxProperties" not in schema,
        "both fields and a map": {"properties", "additionalProperties"} <= set(schema),
        "a number that is not an integer": schema.get("type") == "number",
        "required fields that do not exist": not set(schema.get("required", ()))
        <= set(schema.get("properties", ())),
        "keys of the list that are not required": not set(
            schema.get("x-kubernetes-list-map-keys", ())
        )
        <= set(schema.get("items", {}).get("required", ())),
    }
    yield from ((path, problem) for problem, there in problems.items() if there)
    for name, field in schema.get("properties", {}).items():
        yield from _violations(field, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in schema:
            yield from _violations(schema[key], f"{path}[]", described=False)


def _has_type(schema: Json) -> bool:
    untyped = ("x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields")
    return "type" in schema or any(schema.get(key) is True for key in untyped)


def rules(schema: Json, path: str = "") -> Iterable[tuple[str, str]]:
    """Yield the path and the message of every CEL rule, outermost first."""
    for rule in schema.get(VALIDATIONS, ()):
        yield path, rule["message"]
    for name, field in schema.get("properties", {}).items():
        yield from rules(field, f"{path}.{name}" if path else name)
    for key in ("items", "additionalProperties"):
        if key in schema:
            yield from rules(schema[key], f"{path}[]")
