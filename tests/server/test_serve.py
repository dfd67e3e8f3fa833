"""The real process with a real model, and the settings and failures that end it."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from linnet_server import serve, settings
from linnet_server.__main__ import use_authority
from linnet_server.contract import ExitCode
from prometheus_client.parser import text_string_to_metric_families

from server.conftest import NAMES, Running, fitted, flights, rows_of


def post(running: Running, offset: int, body: bytes) -> tuple[int, Any]:
    url = f"http://127.0.0.1:{running.base + offset}/invocations"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body), timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_the_process_answers_as_scikit_learn_does_and_counts_by_port(server: Running) -> None:
    pipeline, _ = fitted()
    table = flights(20)
    body = {
        "dataframe_split": {"columns": NAMES, "data": rows_of(table)},
        "params": {"output": "probability"},
    }
    for offset in (0, 2, 3, 4):
        status, answer = post(server, offset, json.dumps(body).encode())
        assert status == 200
        assert answer["predictions"] == pipeline.predict_proba(table).tolist()
    page = server.get(1, "/metrics")[1].decode()
    families = {family.name: family for family in text_string_to_metric_families(page)}
    kinds = {sample.labels["kind"] for sample in families["linnet_requests"].samples}
    assert kinds == {"weighted", "mirrored", "direct", "cohort"}
    (info,) = families["linnet_model_info"].samples
    assert info.labels["provenance"] == "Verified"


def test_the_process_says_not_ready_while_it_loads(server: Running) -> None:
    assert server.before_ready == {(503, b"the model is being loaded\n")}


def test_the_limit_of_bodies_is_a_setting(server: Running) -> None:
    status, answer = post(server, 0, b"x" * 65537)
    assert (status, answer) == (413, {"error": "the body must be at most 65536 bytes"})


def test_a_model_that_cannot_be_loaded_ends_the_process_with_30(
    start_stub: Callable[..., Running], tmp_path: Path
) -> None:
    running = start_stub(STUB_FAILURE="the model is broken")
    assert running.process.wait(timeout=30) == 30
    assert (tmp_path / "model.termination").read_text() == "the model is broken"
    line = json.loads(running.end())
    assert (line["level"], line["reason"]) == ("error", "LoadFailed")


def test_more_than_one_worker_is_refused(
    start_stub: Callable[..., Running], tmp_path: Path
) -> None:
    running = start_stub(LINNET_WORKERS="2")
    assert running.process.wait(timeout=30) == 2
    assert (tmp_path / "model.termination").read_text() == (
        "`LINNET_WORKERS` must be 1, not '2': several processes in a pod are not supported yet"
    )


def test_a_broken_model_has_the_exit_code_of_its_fault(model_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(serve.Failed) as caught:
        serve._load(tmp_path)
    assert caught.value.code is ExitCode.LOAD_FAILED
    broken = tmp_path / "model"
    broken.mkdir()
    (broken / "linnet").mkdir()
    for name in ("model.json", "model.skops", "linnet/manifest.json"):
        (broken / name).write_bytes((model_folder / name).read_bytes())
    with pytest.raises(serve.Failed) as caught:
        serve._load(broken)
    assert caught.value.code is ExitCode.SELF_CHECK_FAILED


MINIMAL = {"LINNET_MODEL_NAME": "delays", "LINNET_MODEL_VERSION": "7"}


def test_settings_have_the_defaults_of_the_contract() -> None:
    parsed = settings.parse(MINIMAL)
    assert parsed.folder == Path("/var/run/linnet/model")
    assert parsed.max_request_bytes == 10485760
    assert (parsed.drain_delay, parsed.drain_timeout) == (5.0, 15.0)
    assert parsed.port_base == 8080


@pytest.mark.parametrize(
    ("text", "seconds"), [("15", 15.0), ("15s", 15.0), ("1m30s", 90.0), ("250ms", 0.25)]
)
def test_durations_are_read_as_users_write_them(text: str, seconds: float) -> None:
    assert settings.parse({**MINIMAL, "LINNET_DRAIN_TIMEOUT": text}).drain_timeout == seconds


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"LINNET_MODEL_NAME": ""}, "`LINNET_MODEL_NAME` must be set"),
        (
            {"LINNET_DRAIN_DELAY": "soon"},
            "`LINNET_DRAIN_DELAY` must be a duration such as '15s', not 'soon'",
        ),
        (
            {"LINNET_MAX_REQUEST_BYTES": "10Mi"},
            "`LINNET_MAX_REQUEST_BYTES` must be a positive integer, not '10Mi'",
        ),
    ],
)
def test_a_setting_without_sense_is_named(environment: dict[str, str], message: str) -> None:
    with pytest.raises(settings.InvalidSetting) as caught:
        settings.parse({**MINIMAL, **environment})
    assert str(caught.value) == message


def test_clients_trust_the_authority_of_the_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE")
    for name in names:
        monkeypatch.setenv(name, "before")
    use_authority(str(tmp_path / "ca.crt"))
    environment = dict(serve.os.environ)
    assert {environment[name] for name in names} == {"before"}
    (tmp_path / "ca.crt").write_text("certificate")
    use_authority(str(tmp_path / "ca.crt"))
    environment = dict(serve.os.environ)
    assert {environment[name] for name in names} == {str(tmp_path / "ca.crt")}
