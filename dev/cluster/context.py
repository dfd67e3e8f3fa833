"""A cluster that somebody else runs: it is used as it is, and nothing is installed in it."""

import subprocess

from . import console, kubernetes, paths, services

_NEEDED = {
    "gatewayclass/eg": "a GatewayClass for the routes of the tests",
    "gateway/eg --namespace=default": "a Gateway that takes routes from all namespaces",
    f"service/s3 --namespace={services.NAMESPACE}": "an S3 store at port 7070",
    f"service/mlflow --namespace={services.NAMESPACE}": "an MLflow server at port 5000",
    f"secret/{services.CREDENTIALS} --namespace={services.NAMESPACE}": "the keys of the store",
}


def use(name: str) -> None:
    """Point our kubeconfig at a context of the user's, and say what that cluster lacks."""
    command = ["kubectl", "config", "view", "--minify", "--flatten", "--raw", f"--context={name}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        raise console.Failure("There is no kubectl on the PATH to read that context.") from None
    if done.returncode:
        raise console.Failure(f"There is no context {name}: {done.stderr.strip()}")
    paths.KUBECONFIG.touch(mode=0o600)
    paths.KUBECONFIG.write_text(done.stdout)
    if kubernetes.run("version", "--request-timeout=20s").returncode:
        raise console.Failure(f"The cluster of the context {name} does not answer.")
    lacking = [
        f"  {what}: {why}"
        for what, why in _NEEDED.items()
        if kubernetes.run("get", *what.split()).returncode
    ]
    if lacking:
        raise console.Failure(
            f"The cluster of the context {name} is not ours, so nothing is installed there.\n"
            f"It lacks (see {paths.SOURCE / 'manifests'} for ours):\n" + "\n".join(lacking)
        )


def refuse_images() -> None:
    """Say that images reach such a cluster by its own registry."""
    raise console.Failure(
        "Build the images with the Dockerfile and push them to a registry that this cluster\n"
        "pulls from; they cannot be loaded into its nodes from here."
    )
