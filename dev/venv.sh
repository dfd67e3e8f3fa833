#!/usr/bin/env bash
# Make .venv with everything locked in locks/dev.txt and this project, editable.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
  echo "Python 3.11 or later is needed; $python is $("$python" --version 2>&1). Set PYTHON=/path/to/python3.11." >&2
  exit 1
}
started=$SECONDS
[ -x .venv/bin/python ] || "$python" -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check uv
.venv/bin/uv pip install --quiet --compile-bytecode --python .venv/bin/python --requirements locks/dev.txt --overrides locks/overrides.txt
.venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --editable .
touch .venv/.ready
echo "venv: ready in $((SECONDS - started)) s"
