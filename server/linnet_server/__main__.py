"""The command `linnet-server`: `fetch` brings a model into the pod, `serve` answers with it."""

import argparse
import os
import sys

from linnet_server import contract

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
)


def main(arguments: list[str] | None = None) -> None:
    """Run one of the two commands and exit with a code of the contract."""
    parser = argparse.ArgumentParser(prog="linnet-server", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("fetch", help="download a version, check its digests, leave its files")
    commands.add_parser("serve", help="answer predictions with the files that fetch left")
    command = parser.parse_args(arguments).command
    use_authority(os.environ.get(contract.ENV_CA_FILE, contract.DEFAULT_CA_FILE))
    for name in THREAD_VARIABLES:
        os.environ.setdefault(name, "1")
    # Each command imports its own libraries, after the environment above is in place.
    if command == "fetch":
        from linnet_server import fetch

        sys.exit(fetch.main())
    from linnet_server import serve

    sys.exit(serve.main())


def use_authority(path: str) -> None:
    """Point every TLS client at the certificate authority in `path`, if that file exists."""
    if os.path.isfile(path):
        for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE"):
            os.environ[name] = path


if __name__ == "__main__":
    main()
