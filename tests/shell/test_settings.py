"""Settings come from flags, then the environment, then defaults; mistakes are told in words."""

from datetime import timedelta
from typing import Any

import pytest
from linnet.api.training_job import TrainingJobSpec
from linnet.shell import observe
from linnet.shell.settings import parse

URI = ["--tracking-uri", "http://mlflow:5000/"]


def test_defaults() -> None:
    settings = parse(URI, {})
    assert settings.registry_uri == "http://mlflow:5000/"
    assert settings.tracking_link == "http://mlflow:5000"
    assert settings.resync == timedelta(minutes=5)
    assert settings.identity == "linnet-system/linnet-operator"
    assert not settings.take_over


def test_a_training_on_a_feature_store_or_on_ray_runs_in_an_image_of_its_own() -> None:
    images = {"LINNET_FEAST_IMAGE": "feast:1", "LINNET_RAY_IMAGE": "ray:1"}
    settings = parse(URI, {**images, "LINNET_TRAINER_IMAGE": "trainer:1"})
    feast = {"repoUri": "s3://a", "featureService": "f", "entities": {"uri": "s3://b"}}
    base = {
        "model": {"name": "delays"},
        "pipeline": {"estimator": {"class": "Ridge"}},
        "gates": [{"name": "small", "size": {"maximum": "1Mi"}}],
    }

    def image(search: Any = None, **source: Any) -> str:
        data = {"target": "late", "timestamp": "at", **source}
        spec = TrainingJobSpec.model_validate({**base, "data": data, "search": search})
        return observe._trainer_image(spec, settings)

    assert image(feast=feast) == "feast:1"
    assert image(table={"uri": "s3://b"}) == "trainer:1"
    parameters = [{"name": "alpha", "float": {"min": "0.1", "max": "1"}}]
    search = {"engine": "RayTune", "ray": {"address": "local"}, "parameters": parameters}
    assert image(search, table={"uri": "s3://b"}) == "ray:1"


def test_a_flag_beats_the_environment() -> None:
    environment = {"LINNET_WORKERS": "3", "LINNET_TRACKING_URI": "http://there"}
    assert parse([], environment).workers == 3
    assert parse(["--workers", "5"], environment).workers == 5


def test_take_over_is_a_switch() -> None:
    assert parse([*URI, "--take-over"], {}).take_over
    assert parse(URI, {"LINNET_TAKE_OVER": "true"}).take_over
    assert not parse(URI, {"LINNET_TAKE_OVER": "false"}).take_over


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        ([], {}, "LINNET_TRACKING_URI must name the MLflow server"),
        ([*URI, "--resync", "soon"], {}, "'soon' must be a duration"),
        (URI, {"LINNET_MODEL_PREFIXES": "team-a"}, "'team-a' must look like"),
        ([*URI, "--workers", "many"], {}, "many"),
    ],
)
def test_a_wrong_setting_ends_with_a_sentence(
    arguments: list[str],
    environment: dict[str, str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as end:
        parse(arguments, environment)
    assert end.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("namespaces", "excluded", "namespace", "watched"),
    [
        ("", "kube-system", "team", True),
        ("", "kube-system", "kube-system", False),
        ("a, b", "", "b", True),
        ("a, b", "", "c", False),
        ("a", "a", "a", False),
    ],
)
def test_which_namespaces_are_watched(
    namespaces: str, excluded: str, namespace: str, watched: bool
) -> None:
    settings = parse(URI, {"LINNET_NAMESPACES": namespaces, "LINNET_EXCLUDE_NAMESPACES": excluded})
    assert settings.watches(namespace) is watched


@pytest.mark.parametrize(
    ("rules", "namespace", "model", "allowed"),
    [
        ("", "team", "anything", True),
        ("a=a-,shared-;b=b-", "a", "a-delays", True),
        ("a=a-,shared-;b=b-", "a", "shared-x", True),
        ("a=a-,shared-;b=b-", "a", "b-delays", False),
        ("a=a-", "other", "a-delays", False),
    ],
)
def test_which_models_a_namespace_may_use(
    rules: str, namespace: str, model: str, allowed: bool
) -> None:
    settings = parse(URI, {"LINNET_MODEL_PREFIXES": rules})
    assert settings.allows_model(namespace, model) is allowed
