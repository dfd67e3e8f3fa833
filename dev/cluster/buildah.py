"""buildah on a store of its own in the cache, and the way of its images into our layout.

`buildah push` would compress or copy every layer of an image each time, which takes longer than the
build of what changed. So layers are read from the store here, each once in its life, and a change
of code moves one small layer. What is relied on is the store's own format: images.json, layers.json
and a folder of differences per layer, with the kernel's overlay marks for what was deleted.
"""

import json
import os
import stat
import tarfile
from pathlib import Path
from typing import Any

from . import commands, console, layout, paths

_HOME = paths.CACHE / "buildah"
_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")


def build(name: str, *, context: Path, file: Path, target: str = "", base: str) -> None:
    """Build a Dockerfile, or one target of it, above a base image that the store has."""
    command = ["build", "--quiet", "--isolation", "chroot", "--layers", "--pull-never"]
    command += ["--build-arg", f"BASE={base}", "--file", str(file), "--tag", name]
    # A machine behind a proxy trusts more than the base does. It is lent, never baked in.
    if _BUNDLE.exists():
        command += ["--volume", f"{_BUNDLE}:{_BUNDLE}:ro"]
    if target:
        command += ["--target", target]
    run(*command, str(context))


def take(name: str, source: layout.Layout) -> None:
    """Bring an image of a layout into the store, unless it is there already."""
    digest = source.digest(name)
    mark = _HOME / f"taken-{name.rpartition('/')[2]}"
    if mark.exists() and mark.read_text() == digest:
        return
    # buildah derives a name from the path, and a folder like .cache is not allowed in a name.
    link = paths.RUN / "oci"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(source.folder)
    identity = run("pull", "--quiet", f"oci:{link}:{name}").split()[-1]
    run("tag", identity, name)
    mark.write_text(str(digest))


def give(name: str, target: layout.Layout) -> None:
    """Bring an image of the store into a layout, writing the layers that it lacks."""
    known_file = target.folder / "layers.json"
    known: dict[str, str] = _read(known_file) if known_file.exists() else {}
    digests = []
    for layer in _layers(name):
        digest = known.get(layer["id"]) or layer["diff-digest"]
        if not target.has(digest):
            archive = _HOME / "tmp" / "layer"
            _write_layer(_HOME / "root" / "overlay" / layer["id"] / "diff", archive)
            digest = target.adopt(archive)
            known[layer["id"]] = digest
            known_file.write_text(json.dumps(known))
        digests.append(digest)
    config = json.loads(run("inspect", "--type", "image", name))["OCIv1"]
    target.write_image(name, config=config, digests=digests)


def run(*arguments: str) -> str:
    """Run buildah; return what it printed."""
    scratch = _HOME / "tmp"
    scratch.mkdir(parents=True, exist_ok=True)
    store = ["--root", str(_HOME / "root"), "--runroot", str(_HOME / "run")]
    command = ["buildah", *store, "--storage-driver", "overlay", *arguments]
    return commands.run(*command, env=os.environ | {"TMPDIR": str(scratch)})


def _layers(name: str) -> list[dict[str, Any]]:
    """The layers of an image, the lowest first."""
    root = _HOME / "root"
    images = _read(root / "overlay-images" / "images.json")
    layers = {entry["id"]: entry for entry in _read(root / "overlay-layers" / "layers.json")}
    found = next((image for image in images if name in image.get("names", [])), None)
    if not found:
        raise console.Failure(f"buildah has no image {name} in {root}.")
    chain, layer = [], found["layer"]
    while layer:
        chain.append(layers[layer])
        layer = layers[layer].get("parent")
    return chain[::-1]


def _write_layer(folder: Path, into: Path) -> None:
    """Write a folder of overlay differences as a layer archive."""
    into.unlink(missing_ok=True)
    with tarfile.open(into, "w") as archive:
        for parent, folders, files in os.walk(folder):
            for name in sorted(folders + files):
                path = Path(parent, name)
                inside = path.relative_to(folder)
                state = path.lstat()
                if stat.S_ISCHR(state.st_mode) and state.st_rdev == 0:
                    archive.addfile(tarfile.TarInfo(str(inside.with_name(f".wh.{name}"))))
                    continue
                archive.add(path, str(inside), recursive=False)
                if stat.S_ISDIR(state.st_mode) and _is_opaque(path):
                    archive.addfile(tarfile.TarInfo(str(inside / ".wh..wh..opq")))


def _is_opaque(folder: Path) -> bool:
    try:
        return os.getxattr(folder, "trusted.overlay.opaque") == b"y"
    except OSError:
        return False


def _read(file: Path) -> Any:
    return json.loads(file.read_text())
