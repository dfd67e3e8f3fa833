"""`linnet-server fetch`: bring one version into the pod, checked against the registry's record.

The init container runs this with credentials; the server beside it has none and reads what lies
here. The chain of trust: the version's tag names the sha256 of `linnet/manifest.json`, the manifest
names the sha256 of every file. What the manifest says of content, data, run and columns must be
what the registry records of the version. A model that Linnet did not train has no manifest tag; it
is adopted by a tag with the digest of its own two files.
"""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from linnet_server import contract, manifests, stores
from linnet_server.contract import ExitCode
from linnet_server.stores import FetchError

STAGING = ".incoming"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the revision asks for; digests are in hex, and each of the record may be empty."""

    name: str
    version: str
    uri: str
    digest: str
    content: str
    data: str
    run: str
    required: bool
    formats: tuple[str, ...]
    target: Path


def main() -> int:
    """Fetch as the environment says and return the exit code."""
    try:
        wish = parse_wish(os.environ)
        summary = fetch(wish)
    except FetchError as error:
        say(str(error))
        print(error, file=sys.stderr, flush=True)
        return int(error.code)
    print(json.dumps({"fetched": summary}), flush=True)
    return int(ExitCode.OK)


def say(sentence: str) -> None:
    """Leave `sentence` where the kubelet reads why a container ended."""
    path = os.environ.get(contract.ENV_TERMINATION_LOG, contract.DEFAULT_TERMINATION_LOG)
    try:
        with open(path, "w", encoding="utf-8") as log:
            log.write(sentence)
    except OSError:
        # Outside a pod there is no such file, and standard error says the same.
        return


def parse_wish(environment: Mapping[str, str]) -> Wish:
    """Read the environment of the contract; raise FetchError for a setting without sense."""
    provenance = (
        environment.get(contract.ENV_PROVENANCE, "").strip() or contract.PROVENANCE_IF_PRESENT
    )
    if provenance not in (contract.PROVENANCE_REQUIRED, contract.PROVENANCE_IF_PRESENT):
        raise FetchError(
            ExitCode.INVALID_SETTING,
            f"`{contract.ENV_PROVENANCE}` must be Required or IfPresent, not '{provenance}'",
        )
    formats = environment.get(contract.ENV_ALLOW_FORMATS, "")
    return Wish(
        name=environment.get(contract.ENV_MODEL_NAME, ""),
        version=environment.get(contract.ENV_MODEL_VERSION, ""),
        uri=environment.get(contract.ENV_ARTIFACT_URI, "").strip(),
        digest=_hex(environment.get(contract.ENV_DIGEST, "")),
        content=_hex(environment.get(contract.ENV_CONTENT_DIGEST, "")),
        data=_hex(environment.get(contract.ENV_DATA_DIGEST, "")),
        run=environment.get(contract.ENV_RUN_ID, "").strip(),
        required=provenance == contract.PROVENANCE_REQUIRED,
        formats=tuple(name.strip() for name in formats.split(",") if name.strip())
        or contract.DEFAULT_ALLOW_FORMATS,
        target=Path(environment.get(contract.ENV_MODEL_DIR) or contract.DEFAULT_MODEL_DIR),
    )


def _hex(digest: object) -> str:
    return str(digest).strip().lower().removeprefix("sha256:")


def fetch(wish: Wish) -> dict[str, str]:
    """Leave the files of the version in `wish.target`; return what `model.json` holds.

    Whoever reads the folder sees the old files or the new ones: `model.json` goes first and comes
    last. The target may be a mount point, so files move into it and it never moves itself.
    """
    if wish.required and not (wish.digest or wish.content):
        raise FetchError(
            ExitCode.PROVENANCE_MISMATCH,
            f"{_version(wish)} carries no tag `linnet.dev/manifest-sha256`, "
            "which `model.provenance: Required` asks for",
        )
    present = already_there(wish)
    if present is not None:
        return present
    staging = wish.target / STAGING
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        store = stores.open_store(wish.uri)
        adopted = bool(wish.content) and not wish.digest
        if not adopted and store.get(contract.MANIFEST_FILE, staging / contract.MANIFEST_FILE):
            summary = _fetch_with_manifest(wish, store, staging)
        else:
            summary = _fetch_without_manifest(wish, store, staging)
        _move_into_place(staging, wish.target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return summary


def _fetch_with_manifest(wish: Wish, store: stores.Store, staging: Path) -> dict[str, str]:
    digest = sha256_of(staging / contract.MANIFEST_FILE)
    if wish.digest and digest != wish.digest:
        raise FetchError(
            ExitCode.PROVENANCE_MISMATCH,
            f"linnet/manifest.json of {_version(wish)} has sha256 {digest}, "
            f"but the registry's tag says {wish.digest}",
        )
    manifest = _parse(wish, staging)
    _check_format(wish, manifest)
    _check_record(wish, manifest)
    for path, expected in sorted(manifest.files.items()):
        if path == contract.MANIFEST_FILE:
            continue
        if not store.get(path, staging / path):
            raise FetchError(
                ExitCode.ARTIFACT_MISSING, f"'{path}' of {_version(wish)} is not at {wish.uri}"
            )
        actual = sha256_of(staging / path)
        if actual != _hex(expected):
            raise FetchError(
                ExitCode.PROVENANCE_MISMATCH,
                f"'{path}' of {_version(wish)} has sha256 {actual}, "
                f"but its manifest says {expected}",
            )
    if manifest.model_file not in manifest.files:
        raise FetchError(
            ExitCode.PROVENANCE_MISMATCH,
            f"the manifest of {_version(wish)} names no sha256 for '{manifest.model_file}'",
        )
    _check_signature(wish, manifest, staging / contract.MLMODEL_FILE)
    verified = contract.PROVENANCE_VERIFIED if wish.digest else contract.PROVENANCE_UNVERIFIED
    return _write_summary(
        wish, staging, manifest, digest=digest, content=manifest.content_digest, provenance=verified
    )


def _fetch_without_manifest(wish: Wish, store: stores.Store, staging: Path) -> dict[str, str]:
    if not store.get(contract.MLMODEL_FILE, staging / contract.MLMODEL_FILE):
        raise FetchError(
            ExitCode.ARTIFACT_MISSING,
            f"there is no model at {wish.uri}, where {_version(wish)} should be",
        )
    if wish.digest:
        raise FetchError(
            ExitCode.PROVENANCE_MISMATCH,
            f"the registry's tag names a manifest for {_version(wish)}, "
            f"but there is no linnet/manifest.json at {wish.uri}",
        )
    try:
        document = manifests.from_mlmodel((staging / contract.MLMODEL_FILE).read_bytes())
    except manifests.NotServable as error:
        raise FetchError(
            ExitCode.NOT_SERVABLE, f"{_version(wish)} cannot be served: {error}"
        ) from error
    (staging / contract.MANIFEST_FILE).parent.mkdir(exist_ok=True)
    (staging / contract.MANIFEST_FILE).write_text(json.dumps(document))
    manifest = _parse(wish, staging)
    _check_format(wish, manifest)
    if not store.get(manifest.model_file, staging / manifest.model_file):
        raise FetchError(
            ExitCode.ARTIFACT_MISSING,
            f"'{manifest.model_file}' of {_version(wish)} is not at {wish.uri}",
        )
    content = adoption_digest(staging, manifest.model_file)
    if wish.content and content != wish.content:
        raise FetchError(
            ExitCode.PROVENANCE_MISMATCH,
            f"{_version(wish)} has content digest {content}, but the registry's tag "
            f"`linnet.dev/content-digest` says {wish.content}",
        )
    return _write_summary(
        wish,
        staging,
        manifest,
        digest="",
        content=f"sha256:{content}",
        provenance=(
            contract.PROVENANCE_VERIFIED if wish.content else contract.PROVENANCE_UNVERIFIED
        ),
    )


def adoption_digest(folder: Path, model_file: str) -> str:
    """The digest, in hex, of a model that Linnet did not train: over what is read of it."""
    lines = [
        f"{sha256_of(folder / path)}  {path}\n" for path in (contract.MLMODEL_FILE, model_file)
    ]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _check_record(wish: Wish, manifest: manifests.Manifest) -> None:
    """What a manifest says of itself must be what the registry records of the version."""
    for what, told, recorded in (
        ("content digest", _hex(manifest.content_digest), wish.content),
        ("data digest", _hex(manifest.data_digest), wish.data),
        ("run", manifest.run_id, wish.run),
    ):
        if told and recorded and told != recorded:
            raise FetchError(
                ExitCode.PROVENANCE_MISMATCH,
                f"the manifest of {_version(wish)} says {what} {told}, "
                f"but the registry records {recorded}",
            )


def _check_signature(wish: Wish, manifest: manifests.Manifest, mlmodel: Path) -> None:
    """The signature that the registry shows to people must be the columns that are served."""
    if not mlmodel.exists():
        return
    try:
        columns = manifests.signature_of(mlmodel.read_bytes())
    except (manifests.NotServable, manifests.InvalidManifest) as error:
        raise FetchError(
            ExitCode.PROVENANCE_MISMATCH, f"the signature of {_version(wish)}: {error}"
        ) from error
    if columns is None or columns == manifest.columns:
        return
    theirs, ours = set(columns), set(manifest.columns)
    names = sorted({column.name for column in theirs ^ ours}) or ["their order"]
    raise FetchError(
        ExitCode.PROVENANCE_MISMATCH,
        f"the signature of {_version(wish)} differs from its manifest in: {', '.join(names)}",
    )


def _parse(wish: Wish, folder: Path) -> manifests.Manifest:
    try:
        return manifests.parse((folder / contract.MANIFEST_FILE).read_bytes())
    except manifests.InvalidManifest as error:
        raise FetchError(
            ExitCode.NOT_SERVABLE, f"{_version(wish)} cannot be served: {error}"
        ) from error


def _check_format(wish: Wish, manifest: manifests.Manifest) -> None:
    if manifest.format not in wish.formats:
        raise FetchError(
            ExitCode.FORMAT_NOT_ALLOWED,
            f"{_version(wish)} has format {manifest.format}, "
            f"but `model.allowFormats` lists {', '.join(wish.formats)}",
        )
    if manifest.format != contract.FORMAT_SKOPS:
        raise FetchError(
            ExitCode.NOT_SERVABLE,
            f"{_version(wish)} has format {manifest.format}; this server serves Skops",
        )


def _write_summary(
    wish: Wish,
    staging: Path,
    manifest: manifests.Manifest,
    *,
    digest: str,
    content: str,
    provenance: str,
) -> dict[str, str]:
    summary = {
        "name": wish.name,
        "version": wish.version,
        "format": manifest.format,
        "digest": f"sha256:{digest}" if digest else "",
        "contentDigest": content,
        "provenance": provenance,
    }
    (staging / contract.MODEL_FILE).write_text(json.dumps(summary))
    _keep_what_is_served(staging, manifest)
    return summary


def _keep_what_is_served(staging: Path, manifest: manifests.Manifest) -> None:
    kept = {"linnet", manifest.model_file.split("/")[0], contract.MODEL_FILE}
    for entry in staging.iterdir():
        if entry.name not in kept:
            _remove(entry)


def _move_into_place(staging: Path, target: Path) -> None:
    (target / contract.MODEL_FILE).unlink(missing_ok=True)
    for entry in target.iterdir():
        if entry != staging:
            _remove(entry)
    for entry in sorted(staging.iterdir(), key=lambda entry: entry.name == contract.MODEL_FILE):
        os.replace(entry, target / entry.name)


def _remove(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink()


def already_there(wish: Wish) -> dict[str, str] | None:
    """Return the summary of a fetch that ended before, if every digest still holds.

    A pod whose sandbox restarts fetches again; a store that is away must not keep it from serving.
    """
    if not wish.digest:
        return None
    try:
        summary: dict[str, Any] = json.loads((wish.target / contract.MODEL_FILE).read_bytes())
        if (summary["name"], summary["version"]) != (wish.name, wish.version):
            return None
        if sha256_of(wish.target / contract.MANIFEST_FILE) != wish.digest:
            return None
        manifest = manifests.parse((wish.target / contract.MANIFEST_FILE).read_bytes())
        _check_format(wish, manifest)
        _check_record(wish, manifest)
        kept = [
            path
            for path in manifest.files
            if path.startswith("linnet/") or path == manifest.model_file
        ]
        for path in kept:
            expected = _hex(manifest.files[path])
            if path != contract.MANIFEST_FILE and sha256_of(wish.target / path) != expected:
                return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return summary


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _version(wish: Wish) -> str:
    return f"version {wish.version} of '{wish.name}'"
