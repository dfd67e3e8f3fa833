"""A cluster by kind, where a Docker daemon answers: the same services, from their own images."""

import shutil

from . import commands, console, images, paths

NAME = "linnet"

_PULLED = {
    images.ENVOY: "envoyproxy/envoy:distroless-v1.40.0",
    images.ENVOY_GATEWAY: "envoyproxy/gateway:v1.9.1",
    images.VERSITYGW: "versity/versitygw:v1.8.0",
    images.BASE: "python:3.11-slim-bookworm",
}
"""Our names, which the manifests use, to those under which the projects publish."""


def is_possible() -> bool:
    """Whether Docker answers and kind and kubectl are there."""
    if not shutil.which("docker"):
        return False
    if not commands.succeeds("docker", "info"):
        return False
    return bool(shutil.which("kind") and shutil.which("kubectl"))


def up() -> None:
    """Bring the cluster up with the images of its services."""
    if NAME not in commands.run("kind", "get", "clusters").split():
        with console.step("kind cluster"):
            commands.run("kind", "create", "cluster", "--name", NAME, "--wait", "180s",
                 "--kubeconfig", str(paths.KUBECONFIG))  # fmt: skip
    commands.run(
        "kind", "export", "kubeconfig", "--name", NAME, "--kubeconfig", str(paths.KUBECONFIG)
    )
    for ours, theirs in _PULLED.items():
        pull(ours, theirs)
    context = paths.SOURCE / "images"
    _build(images.MLFLOW, "--file", str(context / "mlflow.Dockerfile"), str(context))
    load(images.MLFLOW)


def pull(ours: str, theirs: str) -> None:
    """Load an image that its project publishes, under our name."""
    with console.step(f"image {theirs}"):
        commands.run("docker", "pull", "--quiet", theirs)
        commands.run("docker", "tag", theirs, ours)
        load(ours)


def build(target: str) -> None:
    """Build one target of the Dockerfile and load it."""
    if target not in images.TARGETS | images.EXTRAS:
        raise console.Failure(f"Load an image {images.named(target).name} into kind by yourself.")
    name = f"{images.PREFIX}/{target}:dev"
    with console.step(f"image {name}"):
        _build(name, "--target", target, str(paths.CHECKOUT))
        load(name)


def load(name: str) -> None:
    """Bring an image that Docker has into the node."""
    commands.run("kind", "load", "docker-image", name, "--name", NAME)


def down() -> None:
    """Delete the cluster, if there is one."""
    if is_possible() and NAME in commands.run("kind", "get", "clusters").split():
        commands.run("kind", "delete", "cluster", "--name", NAME)


def _build(name: str, *arguments: str) -> None:
    commands.run("docker", "build", "--quiet", "--tag", name, "--build-arg", f"BASE={images.BASE}",
         *arguments)  # fmt: skip
