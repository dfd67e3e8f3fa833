"""An OCI image layout on disk: every image once, every layer once, by content.

Images of a single program are written here directly, byte for byte the same each time; those that
buildah builds are brought here layer by layer (buildah.py). ``archive`` gives a runtime only the
blobs it lacks, so that loading an image whose code changed moves its last layer and nothing else.
"""

import hashlib
import io
import json
import os
import platform
import tarfile
import threading
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

_LAYER = "application/vnd.oci.image.layer.v1.tar"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_INDEX = "application/vnd.oci.image.index.v1+json"
_NAME = "org.opencontainers.image.ref.name"

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


_WRITING = threading.Lock()


class Layout:
    """The images of one folder, by name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._blobs = folder / "blobs" / "sha256"
        self._blobs.mkdir(parents=True, exist_ok=True)
        marker = folder / "oci-layout"
        if not marker.exists():
            marker.write_text('{"imageLayoutVersion": "1.0.0"}')

    def digest(self, name: str) -> str | None:
        """The digest of an image's manifest, or None if there is no such image."""
        for entry in self._entries():
            if entry.get("annotations", {}).get(_NAME) == name:
                return str(entry["digest"])
        return None

    def read(self, digest: str) -> Any:
        """A manifest or configuration, parsed."""
        return json.loads(self._path(digest).read_bytes())

    def write(
        self, name: str, *, layers: Collection[Path], config: Mapping[str, Any], base: str = ""
    ) -> None:
        """Make an image of uncompressed layer archives, above those of ``base``.

        The archives are moved into the layout.
        """
        full: dict[str, Any] = {"config": {}, "rootfs": {"diff_ids": []}, "history": []}
        if base:
            below = self.digest(base)
            assert below, f"{base} has to be made before {name}"
            full = self.read(self.read(below)["config"]["digest"])
        full["config"] = full["config"] | dict(config)
        digests = full["rootfs"]["diff_ids"] + [self.adopt(layer) for layer in layers]
        full["history"] += [{"created_by": f"linnet dev/cluster: {name}"} for _ in layers]
        self.write_image(name, config=full, digests=digests)

    def write_image(self, name: str, *, config: Mapping[str, Any], digests: Sequence[str]) -> None:
        """Make an image of uncompressed layers that are in the layout."""
        rootfs = {"type": "layers", "diff_ids": list(digests)}
        machine = {"architecture": ARCHITECTURE, "os": "linux"}
        manifest = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": {"mediaType": _CONFIG, **self._put({**config, **machine, "rootfs": rootfs})},
            "layers": [
                {"mediaType": _LAYER, "digest": digest, "size": self._size(digest)}
                for digest in digests
            ],
        }
        entry = {"mediaType": _MANIFEST, **self._put(manifest), "annotations": {_NAME: name}}
        with _WRITING:
            others = [e for e in self._entries() if e.get("annotations", {}).get(_NAME) != name]
            self._save([*others, entry])

    def has(self, digest: str) -> bool:
        """Whether a blob is there."""
        return self._path(digest).exists()

    def adopt(self, path: Path) -> str:
        """Move a file into the layout; return its digest."""
        with path.open("rb") as file:
            digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
        path.rename(self._path(digest))
        return digest

    def archive(self, name: str, *, present: Collection[str], into: IO[bytes]) -> None:
        """Write an image as a tar stream, without the blobs that the receiver has."""
        digest = self.digest(name)
        assert digest, f"{name} is not in the layout"
        manifest = self.read(digest)
        needed = [digest, manifest["config"]["digest"]]
        needed += [layer["digest"] for layer in manifest["layers"]]
        entry = {"mediaType": _MANIFEST, "digest": digest, "size": self._size(digest)}
        entry["annotations"] = {"io.containerd.image.name": name, _NAME: name}
        index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": [entry]}
        with tarfile.open(fileobj=into, mode="w|") as archive:
            _add(archive, "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
            for blob in dict.fromkeys(needed):
                if blob not in present:
                    archive.add(self._path(blob), f"blobs/sha256/{blob.removeprefix('sha256:')}")
            _add(archive, "index.json", json.dumps(index).encode())

    def collect(self) -> None:
        """Remove the blobs that no image of the layout uses any more."""
        used = set()
        for entry in self._entries():
            manifest = self.read(entry["digest"])
            used |= {entry["digest"], manifest["config"]["digest"]}
            used |= {layer["digest"] for layer in manifest["layers"]}
        for blob in self._blobs.iterdir():
            if f"sha256:{blob.name}" not in used:
                blob.unlink()

    def _entries(self) -> list[dict[str, Any]]:
        try:
            index = json.loads((self.folder / "index.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return []
        return list(index["manifests"])

    def _save(self, entries: list[dict[str, Any]]) -> None:
        index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": entries}
        fresh = self.folder / "index.json.new"
        fresh.write_text(json.dumps(index))
        fresh.rename(self.folder / "index.json")

    def _put(self, value: Any) -> dict[str, Any]:
        raw = json.dumps(value, sort_keys=True).encode()
        digest = f"sha256:{hashlib.sha256(raw).hexdigest()}"
        fresh = self.folder / f".{os.getpid()}-{threading.get_ident()}"
        fresh.write_bytes(raw)
        fresh.rename(self._path(digest))
        return {"digest": digest, "size": len(raw)}

    def _size(self, digest: str) -> int:
        return self._path(digest).stat().st_size

    def _path(self, digest: str) -> Path:
        return self._blobs / digest.removeprefix("sha256:")


def layer_of(files: Mapping[str, Path], *, into: Path) -> Path:
    """Write a layer archive of programs: path in the image to file here. Times are zero."""
    with tarfile.open(into, "w") as archive:
        for target, source in files.items():
            entry = tarfile.TarInfo(target.lstrip("/"))
            entry.size, entry.mode = source.stat().st_size, 0o755
            with source.open("rb") as file:
                archive.addfile(entry, file)
    return into


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))
