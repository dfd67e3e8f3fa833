#!/usr/bin/env bash
# What can be said about the code without a cluster, in under a minute.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH"
ruff check .
ruff format --check .
mypy
lint-imports --no-cache
python -m pytest -q tests/unit tests/properties tests/docs tests/test_repository.py
