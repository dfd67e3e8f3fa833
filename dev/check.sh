#!/usr/bin/env bash
# What can be said about the code without a cluster, in under a minute.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH"
ruff check .
ruff format --check .
mypy
lint-imports --no-cache

# Two cores: unit tests beside the others; what they say comes after what the others say.
log=$(mktemp)
trap 'rm -f "$log"' EXIT
python -m pytest -q tests/unit >"$log" 2>&1 &
unit=$!
failed=0
python -m pytest -q tests/properties tests/docs tests/test_repository.py || failed=1
wait $unit || failed=1
cat "$log"
exit $failed
