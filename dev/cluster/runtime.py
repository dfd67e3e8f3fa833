"""containerd: the runtime of the pods, and the store of the node's images."""

import json
import subprocess
import time
from collections.abc import Sequence

from . import builds, commands, console, images, layout, network, paths, processes

_NAMESPACE = "k8s.io"


def start() -> None:
    """Start containerd, without the containers of an earlier life of the node."""
    if processes.alive("containerd") and _answers():
        return
    processes.stop("containerd")
    _write_configuration()
    _start()
    if _remove_containers():
        # The kubelet's side of containerd has read them already, and does so only once.
        processes.stop("containerd")
        _start()


def load(names: Sequence[str]) -> None:
    """Bring images of the layout into the node, as far as they are not there."""
    store = images.store()
    there = _images()
    for name in names:
        if there.get(name) == store.digest(name):
            continue
        begun = time.monotonic()
        load_one(name, store)
        console.say(f"  loaded {name}: {console.duration(time.monotonic() - begun)}")


def load_one(name: str, store: layout.Layout) -> None:
    """Stream an image into containerd, leaving out the layers that it has."""
    present = set(ctr("content", "ls", "-q").split())
    command = [*_command(), "images", "import", "-"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdin
        try:
            store.archive(name, present=present, into=process.stdin)
            told, _ = process.communicate()
        except BrokenPipeError:
            told = process.stdout.read() if process.stdout else b""
    if process.returncode:
        raise console.Failure(f"containerd does not take {name}: {told.decode()[-2000:]}")


def ctr(*arguments: str) -> str:
    """Run containerd's own client; return what it printed."""
    return commands.run(*_command(), *arguments)


def _command() -> list[str]:
    program = str(builds.NODE.program("ctr"))
    return [program, "--address", str(paths.SOCKET), "--namespace", _NAMESPACE]


def _images() -> dict[str, str]:
    """Name of each image of the node to the digest of its manifest."""
    lines = [line.split() for line in ctr("images", "ls").splitlines()[1:]]
    return {fields[0]: fields[2] for fields in lines}


def _start() -> None:
    program, configuration = builds.NODE.program("containerd"), paths.CONFIG / "containerd.toml"
    command = [str(program), "--config", str(configuration)]
    # Shim and runc are found beside containerd.
    processes.start("containerd", command, path=str(builds.NODE.folder))
    deadline = time.monotonic() + 60
    while not _answers():
        if not processes.alive("containerd") or time.monotonic() > deadline:
            raise console.Failure(f"containerd does not run:\n{processes.tail('containerd')}")
        time.sleep(0.1)


def _answers() -> bool:
    return commands.succeeds(*_command(), "version")


def _remove_containers() -> bool:
    found = ctr("containers", "ls", "-q").split()
    for container in found:
        commands.succeeds(*_command(), "tasks", "delete", "--force", container)
        ctr("containers", "rm", container)
    return bool(found)


def _write_configuration() -> None:
    network_folder = paths.CONFIG / "cni"
    network_folder.mkdir(parents=True, exist_ok=True)
    (network_folder / "10-linnet.conflist").write_text(json.dumps(_cni(), indent=1))
    cri = "plugins.'io.containerd.cri.v1"
    (paths.CONFIG / "containerd.toml").write_text(f"""\
version = 3
root = "{paths.CONTAINERD}"
state = "{paths.RUN}/containerd"

[grpc]
address = "{paths.SOCKET}"

# Nothing plugs into the pods of this node, and its socket would lie in a fixed place.
[plugins.'io.containerd.nri.v1.nri']
disable = true

[{cri}.images'.pinned_images]
sandbox = "{images.PAUSE}"

[{cri}.runtime']
# Without the capability SYS_RESOURCE no process may lower its own score.
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true

[{cri}.runtime'.cni]
bin_dirs = ["{builds.NODE.folder}"]
conf_dir = "{network_folder}"

[{cri}.runtime'.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[{cri}.runtime'.containerd.runtimes.runc.options]
BinaryName = "{builds.NODE.program("runc")}"
Root = "{paths.RUN}/runc"
SystemdCgroup = false
""")


def _cni() -> dict[str, object]:
    subnet = network.POD_RANGE.replace(".0.0/16", ".0.0/24")
    addresses = {
        "type": "host-local",
        "ranges": [[{"subnet": subnet}]],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": str(paths.STATE / "addresses"),
    }
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        # A pod reaches itself through its Service.
        "hairpinMode": True,
        "ipMasq": False,
        "ipam": addresses,
    }
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True}
    return {"cniVersion": "1.0.0", "name": "linnet", "plugins": [bridge, portmap]}
