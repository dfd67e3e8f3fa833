"""Fetch: the chain of digests, and which exit code says whose fault it is."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import skops.io
import yaml
from linnet_server import fetch, manifests
from sklearn.linear_model import LogisticRegression

from server.conftest import manifest_digest, write_manifest

VERSION = "version 7 of 'delays'"


class Fetched:
    """What one run of fetch did."""

    def __init__(self, folder: Path, code: int, log: Path) -> None:
        self.folder = folder
        self.code = code
        self.sentence = log.read_text() if log.exists() else ""

    @property
    def summary(self) -> Any:
        return json.loads((self.folder / "model.json").read_text())

    @property
    def files(self) -> set[str]:
        return {
            path.relative_to(self.folder).as_posix()
            for path in self.folder.rglob("*")
            if path.is_file()
        }


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that runs fetch on a folder or URI."""
    log, target = tmp_path / "termination-log", tmp_path / "model"
    monkeypatch.setenv("LINNET_TERMINATION_LOG", str(log))
    monkeypatch.setenv("LINNET_MODEL_DIR", str(target))
    monkeypatch.setenv("LINNET_MODEL_NAME", "delays")
    monkeypatch.setenv("LINNET_MODEL_VERSION", "7")

    def call(source: Path | str, **settings: str) -> Fetched:
        log.unlink(missing_ok=True)
        uri = source if isinstance(source, str) else f"file://{source}"
        monkeypatch.setenv("LINNET_ARTIFACT_URI", uri)
        record = ("DIGEST", "CONTENT_DIGEST", "DATA_DIGEST", "RUN_ID")
        for name in (*record, "PROVENANCE", "ALLOW_FORMATS"):
            monkeypatch.setenv(f"LINNET_{name}", settings.get(name.lower(), ""))
        return Fetched(target, fetch.main(), log)

    return call


def test_a_verified_model_is_left_with_what_is_served(run: Any, artifact: Path) -> None:
    done = run(artifact, digest=manifest_digest(artifact), provenance="Required")
    assert (done.code, done.sentence) == (0, "")
    assert done.files == {
        "model.json",
        "model.skops",
        "linnet/manifest.json",
        "linnet/samples.json",
        "linnet/profile.json",
    }
    assert done.summary == {
        "name": "delays",
        "version": "7",
        "format": "Skops",
        "digest": f"sha256:{manifest_digest(artifact)}",
        "contentDigest": "sha256:" + "c" * 64,
        "provenance": "Verified",
    }


def test_digests_may_be_written_with_their_algorithm(run: Any, own_artifact: Path) -> None:
    manifest = json.loads((own_artifact / "linnet" / "manifest.json").read_text())
    files = {name: f"sha256:{digest}" for name, digest in manifest["files"].items()}
    digest = write_manifest(own_artifact, files=files)
    done = run(own_artifact, digest=f"sha256:{digest}")
    assert (done.code, done.summary["provenance"]) == (0, "Verified")


def test_a_manifest_that_the_registry_does_not_vouch_for_is_unverified(
    run: Any, artifact: Path
) -> None:
    done = run(artifact)
    assert (done.code, done.summary["provenance"]) == (0, "Unverified")


def test_fetching_twice_leaves_the_same(run: Any, artifact: Path) -> None:
    first = run(artifact, digest=manifest_digest(artifact))
    (first.folder / "left-over").write_text("from something else")
    second = run(artifact)
    assert second.code == 0
    assert "left-over" not in second.files
    assert not (second.folder / ".incoming").exists()


def test_a_complete_model_needs_no_store_again(run: Any, artifact: Path) -> None:
    digest = manifest_digest(artifact)
    assert run(artifact, digest=digest).code == 0
    done = run("s3://nowhere/at/all", digest=digest)
    assert (done.code, done.summary["provenance"]) == (0, "Verified")


def test_a_complete_model_that_was_touched_is_fetched_again(run: Any, artifact: Path) -> None:
    digest = manifest_digest(artifact)
    done = run(artifact, digest=digest)
    (done.folder / "model.skops").write_bytes(b"touched")
    done = run(artifact, digest=digest)
    assert done.code == 0
    original = (artifact / "model.skops").read_bytes()
    assert (done.folder / "model.skops").read_bytes() == original


def test_a_failed_fetch_leaves_what_was_there(run: Any, artifact: Path, own_artifact: Path) -> None:
    digest = manifest_digest(artifact)
    assert run(artifact, digest=digest).code == 0
    (own_artifact / "model.skops").unlink()
    digest = write_manifest(own_artifact, files={"model.skops": "0" * 64})
    done = run(own_artifact, digest=digest)
    assert done.code == 13
    assert done.summary["digest"] == f"sha256:{manifest_digest(artifact)}"


def test_another_manifest_than_the_tag_names_is_a_mismatch(run: Any, artifact: Path) -> None:
    done = run(artifact, digest="0" * 64)
    assert done.code == 10
    assert done.sentence == (
        f"linnet/manifest.json of {VERSION} has sha256 {manifest_digest(artifact)}, "
        f"but the registry's tag says {'0' * 64}"
    )
    assert not (done.folder / "model.json").exists()


def test_a_file_that_was_changed_is_a_mismatch(run: Any, own_artifact: Path) -> None:
    digest = manifest_digest(own_artifact)
    (own_artifact / "linnet" / "samples.json").write_text("{}")
    done = run(own_artifact, digest=digest)
    assert done.code == 10
    assert done.sentence.startswith(f"'linnet/samples.json' of {VERSION} has sha256 ")


def test_a_required_record_that_is_not_there_is_a_mismatch(run: Any, artifact: Path) -> None:
    done = run(artifact, provenance="Required")
    assert done.code == 10
    assert done.sentence == (
        f"{VERSION} carries no tag `linnet.dev/manifest-sha256`, "
        "which `model.provenance: Required` asks for"
    )


RECORD = {
    "contentDigest": "sha256:" + "c" * 64,
    "dataDigest": "sha256:" + "d" * 64,
    "runID": "run-1",
}


@pytest.mark.parametrize(
    ("recorded", "what", "told"),
    [
        ({"content_digest": "sha256:" + "e" * 64}, "content digest", "c" * 64),
        ({"data_digest": "e" * 64}, "data digest", "d" * 64),
        ({"run_id": "run-2"}, "run", "run-1"),
    ],
)
def test_a_manifest_that_the_registry_contradicts_is_a_mismatch(
    run: Any, own_artifact: Path, recorded: dict[str, str], what: str, told: str
) -> None:
    digest = write_manifest(own_artifact, **RECORD)
    right = {"content_digest": "c" * 64, "data_digest": "d" * 64, "run_id": "run-1"}
    assert run(own_artifact, digest=digest, provenance="Required", **right).code == 0
    done = run(own_artifact, digest=digest, **{**right, **recorded})
    assert done.code == 10
    value = next(iter(recorded.values())).removeprefix("sha256:")
    assert done.sentence == (
        f"the manifest of {VERSION} says {what} {told}, but the registry records {value}"
    )


def test_a_manifest_of_an_older_trainer_says_less(run: Any, artifact: Path) -> None:
    done = run(artifact, digest=manifest_digest(artifact), data_digest="e" * 64, run_id="run-2")
    assert done.code == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"type": "string"}, "distance"),
        ({"name": "miles"}, "distance, miles"),
        ({"required": False}, "distance"),
        (None, "their order"),
    ],
)
def test_a_signature_that_is_not_what_is_served_is_a_mismatch(
    run: Any, own_artifact: Path, change: dict[str, Any] | None, words: str
) -> None:
    entries: list[dict[str, Any]] = [
        {"type": "double", "name": "distance", "required": True},
        {"type": "double", "name": "temp", "required": False},
        {"type": "string", "name": "carrier", "required": True},
    ]

    def signed() -> str:
        text = yaml.safe_dump({"signature": {"inputs": json.dumps(entries)}})
        (own_artifact / "MLmodel").write_text(text)
        return write_manifest(own_artifact)

    assert run(own_artifact, digest=signed()).code == 0
    entries[0].update(change or {})
    if change is None:
        entries.reverse()
    done = run(own_artifact, digest=signed())
    assert done.code == 10
    assert done.sentence == f"the signature of {VERSION} differs from its manifest in: {words}"


def test_a_tag_without_a_manifest_is_a_mismatch(run: Any, own_artifact: Path) -> None:
    (own_artifact / "linnet" / "manifest.json").unlink()
    done = run(own_artifact, digest="0" * 64)
    assert done.code == 10
    assert done.sentence.startswith(f"the registry's tag names a manifest for {VERSION}, ")


def test_a_model_file_outside_the_manifest_is_a_mismatch(run: Any, own_artifact: Path) -> None:
    digest = write_manifest(own_artifact, files={})
    done = run(own_artifact, digest=digest)
    assert done.code == 10
    assert done.sentence == f"the manifest of {VERSION} names no sha256 for 'model.skops'"


@pytest.mark.parametrize("path", ["../model.skops", "/etc/passwd", "linnet/../../x", ""])
def test_a_path_that_leaves_the_model_is_not_followed(
    run: Any, own_artifact: Path, path: str
) -> None:
    digest = write_manifest(own_artifact, files={path: "0" * 64})
    done = run(own_artifact, digest=digest)
    assert done.code == 12
    assert done.sentence.endswith(f"'{path}' must be a path inside the model")


@pytest.mark.parametrize(
    ("form", "allowed", "code", "sentence"),
    [
        (
            "Skops",
            "Plan",
            11,
            f"{VERSION} has format Skops, but `model.allowFormats` lists Plan",
        ),
        (
            "Pickle",
            "",
            11,
            f"{VERSION} has format Pickle, but `model.allowFormats` lists Plan, Skops",
        ),
        (
            "Pickle",
            "Skops,Pickle",
            12,
            f"{VERSION} has format Pickle; this server serves Skops",
        ),
    ],
)
def test_a_format_must_be_allowed_and_served(
    run: Any, own_artifact: Path, form: str, allowed: str, code: int, sentence: str
) -> None:
    digest = write_manifest(own_artifact, format=form)
    done = run(own_artifact, digest=digest, allow_formats=allowed)
    assert (done.code, done.sentence) == (code, sentence)


def test_a_manifest_of_another_version_is_not_servable(run: Any, own_artifact: Path) -> None:
    digest = write_manifest(own_artifact, v=2)
    done = run(own_artifact, digest=digest)
    assert done.code == 12
    assert done.sentence == (
        f"{VERSION} cannot be served: linnet/manifest.json: `v` must be 1, not 2"
    )


def test_a_folder_that_is_not_there_is_missing(run: Any, tmp_path: Path) -> None:
    done = run(tmp_path / "nothing")
    assert done.code == 13
    assert done.sentence == (
        f"there is no model at file://{tmp_path / 'nothing'}, where {VERSION} should be"
    )


def test_a_setting_without_sense_is_named(run: Any, artifact: Path) -> None:
    done = run(artifact, provenance="Maybe")
    assert done.code == 2
    assert done.sentence == "`LINNET_PROVENANCE` must be Required or IfPresent, not 'Maybe'"


# Models that Linnet did not train.

SIGNATURE = [
    {"type": "double", "name": "a", "required": True},
    {"type": "long", "name": "b", "required": False},
    {"type": "string", "name": "c", "required": True},
    {"type": "boolean", "name": "d"},
]


def mlmodel(**changes: Any) -> dict[str, Any]:
    flavor = {
        "pickled_model": "model.skops",
        "serialization_format": "skops",
        "sklearn_version": "1.9.1",
    }
    return {
        "flavors": {"sklearn": flavor, "python_function": {"loader_module": "mlflow.sklearn"}},
        "signature": {"inputs": json.dumps(SIGNATURE)},
        **changes,
    }


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """Return a model that MLflow alone has logged."""
    folder = tmp_path / "foreign"
    folder.mkdir()
    skops.io.dump(LogisticRegression(), folder / "model.skops")
    (folder / "MLmodel").write_text(yaml.safe_dump(mlmodel()))
    return folder


def test_a_foreign_model_is_served_by_its_mlmodel_file(run: Any, foreign: Path) -> None:
    done = run(foreign)
    assert done.code == 0
    assert done.summary["provenance"] == "Unverified"
    assert done.summary["digest"] == ""
    assert done.summary["contentDigest"].startswith("sha256:")
    manifest = manifests.parse((done.folder / "linnet" / "manifest.json").read_bytes())
    assert [(c.name, c.type, c.nullable) for c in manifest.columns] == [
        ("a", "double", False),
        ("b", "double", True),
        ("c", "string", False),
        ("d", "boolean", False),
    ]
    assert manifest.libraries == {"scikit-learn": "1.9.1"}


def test_a_foreign_model_is_refused_where_provenance_is_required(run: Any, foreign: Path) -> None:
    assert run(foreign, provenance="Required").code == 10


def test_a_foreign_model_is_adopted_by_the_digest_of_its_files(run: Any, foreign: Path) -> None:
    digest = run(foreign).summary["contentDigest"]
    done = run(foreign, content_digest=digest, provenance="Required")
    assert (done.code, done.sentence) == (0, "")
    assert (done.summary["provenance"], done.summary["contentDigest"]) == ("Verified", digest)

    inputs = json.dumps([*SIGNATURE[1:], SIGNATURE[0]])
    (foreign / "MLmodel").write_text(yaml.safe_dump(mlmodel(signature={"inputs": inputs})))
    done = run(foreign, content_digest=digest)
    assert done.code == 10
    assert done.sentence.endswith(
        f"but the registry's tag `linnet.dev/content-digest` says {digest.removeprefix('sha256:')}"
    )


def test_a_foreign_model_with_a_tensor_signature_has_numbered_columns(
    run: Any, foreign: Path
) -> None:
    spec = [{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 2]}}]
    document = mlmodel(signature={"inputs": json.dumps(spec)})
    (foreign / "MLmodel").write_text(yaml.safe_dump(document))
    done = run(foreign)
    manifest = manifests.parse((done.folder / "linnet" / "manifest.json").read_bytes())
    assert [column.name for column in manifest.columns] == ["x0", "x1"]


@pytest.mark.parametrize(
    ("changes", "code", "sentence"),
    [
        (
            {"flavors": {"xgboost": {}}},
            12,
            "the model has no scikit-learn flavour, only xgboost",
        ),
        (
            {"flavors": {"sklearn": {"pickled_model": "model.skops"}}},
            12,
            "the model has no `predict`, so there is nothing to serve",
        ),
        (
            {"signature": None},
            12,
            "the model has no input signature: log it with `signature=`",
        ),
        (
            {"signature": {"inputs": json.dumps([{"type": "datetime", "name": "when"}])}},
            12,
            "column 'when' of the signature has type 'datetime', "
            "which must be a number, string or boolean",
        ),
        (
            {
                "flavors": {
                    "sklearn": {"pickled_model": "model.pkl", "serialization_format": "pickle"},
                    "python_function": {},
                }
            },
            11,
            "has format Pickle, but `model.allowFormats` lists Plan, Skops",
        ),
    ],
)
def test_a_foreign_model_that_cannot_be_served_says_why(
    run: Any, foreign: Path, changes: dict[str, Any], code: int, sentence: str
) -> None:
    (foreign / "MLmodel").write_text(yaml.safe_dump(mlmodel(**changes)))
    done = run(foreign)
    assert done.code == code
    assert done.sentence.endswith(sentence)


# Stores over the network.


class Far:
    """An HTTP server that plays a store or a registry from a table of answers."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.default: tuple[int, bytes] = (404, b"")
        far = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = far.answers.get(self.path, far.default)
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_HEAD = do_GET

            def log_message(self, *arguments: Any) -> None:
                """Tests are quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()


@pytest.fixture
def far() -> Iterator[Far]:
    """Return a server to be filled with answers."""
    made = Far()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def s3(far: Far, monkeypatch: pytest.MonkeyPatch) -> Far:
    """Return an S3 store and the environment that points at it."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", far.url)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    far.default = (404, s3_error("NoSuchKey"))
    return far


def s3_error(code: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>said so</Message></Error>".encode()


def fill(far: Far, prefix: str, folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            far.answers[f"{prefix}/{path.relative_to(folder)}"] = (200, path.read_bytes())


def test_a_model_is_read_from_s3_without_the_registry(run: Any, s3: Far, artifact: Path) -> None:
    fill(s3, "/mlflow/artifacts/1/models/m-1/artifacts", artifact)
    done = run(
        "s3://mlflow/artifacts/1/models/m-1/artifacts",
        digest=manifest_digest(artifact),
        provenance="Required",
    )
    assert (done.code, done.sentence) == (0, "")
    assert (done.folder / "model.skops").read_bytes() == (artifact / "model.skops").read_bytes()


@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        (404, "NoSuchKey", 13),
        # A bucket that is not there is the store's trouble: the revision is not rejected for it.
        (404, "NoSuchBucket", 20),
        (403, "AccessDenied", 22),
        (503, "SlowDown", 20),
    ],
)
def test_trouble_of_the_store_is_told_from_trouble_of_the_revision(
    run: Any, s3: Far, status: int, error: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s3fs.S3FileSystem.retries", 1)
    s3.default = (status, s3_error(error))
    assert run("s3://mlflow/artifacts/1").code == code


def test_a_store_that_does_not_answer_is_unavailable(
    run: Any, s3: Far, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s3fs.S3FileSystem.retries", 1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    done = run("s3://mlflow/artifacts/1")
    assert done.code == 20
    assert done.sentence.startswith(
        "the store at http://127.0.0.1:9 cannot be read at s3://mlflow/artifacts/1: "
    )


def test_a_store_without_credentials_says_that_they_are_missing(
    run: Any, s3: Far, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", "/nonexistent")
    done = run("s3://mlflow/artifacts/1")
    assert done.code == 22
    assert "the credentials Secret must hold keys that may read it" in done.sentence


@pytest.mark.filterwarnings("ignore")
def test_a_model_is_read_through_a_registry_that_proxies_artifacts(
    run: Any, far: Far, artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", far.url)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    prefix = "/api/2.0/mlflow-artifacts/artifacts"
    root = "1/models/m-1/artifacts"
    fill(far, f"{prefix}/{root}", artifact)
    for folder in ("", "linnet"):
        entries = [
            {"path": path.name, "is_dir": path.is_dir(), "file_size": 1}
            for path in (artifact / folder).iterdir()
        ]
        path = f"{root}/{folder}".rstrip("/").replace("/", "%2F")
        far.answers[f"{prefix}?path={path}"] = (200, json.dumps({"files": entries}).encode())
    # MLflow answers so for the path of a file.
    far.default = (200, b'{"files": []}')
    done = run(f"mlflow-artifacts:/{root}", digest=manifest_digest(artifact))
    assert (done.code, done.sentence) == (0, "")

    far.answers.clear()
    far.default = (401, b"who are you")
    done = run(f"mlflow-artifacts:/{root}")
    assert done.code == 22

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    done = run(f"mlflow-artifacts:/{root}")
    assert done.code == 21
    assert done.sentence.startswith("the registry at http://127.0.0.1:9 cannot be read for ")
