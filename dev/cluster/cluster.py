"""The commands, for whichever cluster there is: asked for, kind, or the node of our own."""

import argparse
import contextlib
import fcntl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from . import (
    buildah,
    builds,
    certificates,
    cleanup,
    console,
    context,
    images,
    kind,
    kubernetes,
    network,
    node,
    paths,
    processes,
    requirements,
    runtime,
    services,
)


def command(arguments: argparse.Namespace) -> int:
    """Run one command; return its exit status."""
    match arguments.command:
        case "up":
            with _alone():
                _up(arguments.context)
        case "down":
            with _alone():
                _down(purge=arguments.purge)
        case "status":
            return _status()
        case "kubeconfig":
            print(paths.KUBECONFIG)
        case "kubectl":
            print(paths.KUBECTL)
        case "images":
            with _alone():
                _images(arguments.target or list(images.TARGETS))
        case "load":
            with _alone():
                _load(arguments.image)
        case name if name in ADDITIONS:
            with _alone():
                _add(ADDITIONS[name])
        case "credentials":
            _demand_cluster()
            services.make_credentials(arguments.namespace)
    return 0


def _up(wanted_context: str) -> None:
    start = time.monotonic()
    if wanted_context:
        _choose("context")
        context.use(wanted_context)
    elif kind.is_possible():
        _choose("kind")
        kind.up()
        services.install()
    else:
        _choose("node")
        _up_node()
        services.install()
    console.say(f"The cluster is up: {console.duration(time.monotonic() - start)}")
    console.say(f"  export KUBECONFIG={paths.KUBECONFIG} PATH={paths.KUBECTL.parent}:$PATH")


def _demand_cluster() -> None:
    if _provider() == "node" and not node.ready():
        raise console.Failure("The node does not answer: python3 -m dev.cluster up")


def _choose(provider: str) -> None:
    paths.PROVIDER.write_text(provider)


def _provider() -> str:
    """Who made the cluster: ``node``, ``kind`` or ``context``."""
    if not paths.PROVIDER.exists():
        raise console.Failure("There is no cluster: python3 -m dev.cluster up")
    return paths.PROVIDER.read_text()


def _up_node() -> None:
    requirements.ensure()
    with _in_background(_fetch_images, "images"):
        builds.ensure(builds.NODE, builds.STORE, builds.GATEWAY)
        for image in images.platform():
            images.ensure(image)
        paths.KUBECTL.parent.mkdir(parents=True, exist_ok=True)
        _link_kubectl()
        node.up()
        runtime.load([image.name for image in images.platform()])
        services.install_node_services()
    runtime.load([image.name for image in images.fetched()])
    services.wait_for_dns()


def _fetch_images() -> None:
    for image in images.fetched():
        images.ensure(image)


def _link_kubectl() -> None:
    program = builds.NODE.program("kubectl")
    if not paths.KUBECTL.is_symlink() or paths.KUBECTL.readlink() != program:
        paths.KUBECTL.unlink(missing_ok=True)
        paths.KUBECTL.symlink_to(program)


def _down(*, purge: bool) -> None:
    with console.step("taking the cluster down"):
        cleanup.tear_down()
        kind.down()
    if left := cleanup.leftovers():
        raise console.Failure("These are left: " + ", ".join(left))
    paths.KUBECONFIG.unlink(missing_ok=True)
    network.lift_guard()
    paths.PROVIDER.unlink(missing_ok=True)
    if purge:
        cleanup.forget()


def _status() -> int:
    if _provider() == "node":
        for name in node.DAEMONS:
            process = processes.pid(name)
            print(f"{name:26}{f'running, pid {process}' if process else 'not running'}")
        if not node.ready():
            print(f"The API server at {certificates.SERVER} does not answer.")
            return 1
    print(kubernetes.kubectl("get", "nodes,gateways,deployments", "--all-namespaces").rstrip())
    print(f"kubeconfig: {paths.KUBECONFIG}\nkubectl:    {paths.KUBECTL}\nlogs:       {paths.LOGS}")
    return 0


def _images(targets: list[str]) -> None:
    for target in targets:
        if target not in images.NAMES:
            raise console.Failure(f"No target {target}; there are {', '.join(images.NAMES)}.")
    match _provider():
        case "context":
            context.refuse_images()
        case "kind":
            for target in targets:
                kind.build(target)
        case _:
            _demand_cluster()
            requirements.ensure()
            images.ensure(images.base())
            wanted = [images.named(target) for target in targets]
            for image in wanted:
                images.ensure(image)
            runtime.load([image.name for image in wanted])
            images.store().collect()


@dataclass(frozen=True, slots=True, kw_only=True)
class Addition:
    """What no cluster has from the start, for the tests that ask for it."""

    image: str
    group: builds.Group
    install: Callable[[], None]
    published: str = ""
    """The same image where Docker finds it by name alone; empty where it does not."""


ADDITIONS = {
    "prometheus": Addition(
        image=images.PROMETHEUS,
        group=builds.PROMETHEUS,
        install=services.install_prometheus,
        published="prom/prometheus:v3.16.0",
    ),
    "metrics": Addition(
        image=images.METRICS,
        group=builds.METRICS,
        install=services.install_metrics,
    ),
}


def _add(addition: Addition) -> None:
    match _provider():
        case "context":
            context.refuse_images()
        case "kind" if addition.published:
            kind.pull(addition.image, addition.published)
        case "kind":
            raise console.Failure(f"Load {addition.image} into the kind cluster yourself.")
        case _:
            _demand_cluster()
            builds.ensure(addition.group)
            images.ensure(images.addition(addition.image, addition.group))
            runtime.load([addition.image])
    addition.install()


def _load(name: str) -> None:
    match _provider():
        case "context":
            context.refuse_images()
        case "kind":
            kind.load(name)
        case _:
            _demand_cluster()
            buildah.give(name, images.store())
            runtime.load([name])


@contextlib.contextmanager
def _in_background(task: Callable[[], None], title: str) -> Iterator[None]:
    """Run a task beside the block, and wait for it at the end; its failure is the block's."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            task()
        except BaseException as failure:
            failures.append(failure)

    thread = threading.Thread(target=run, name=title, daemon=True)
    thread.start()
    yield
    thread.join()
    if failures:
        raise failures[0]


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Let one command at a time change the cluster and the cache."""
    paths.CACHE.mkdir(parents=True, exist_ok=True)
    with (paths.CACHE / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            console.say("Another command works on the cluster; waiting for it ...")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
