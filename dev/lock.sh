#!/usr/bin/env bash
# Write locks/*.txt. Run through `make lock`; the date keeps releases younger than a week out.
set -euo pipefail
cd "$(dirname "$0")/.."
newest=${1:-$(date -u -d '7 days ago' +%Y-%m-%dT00:00:00Z)}
compile() { # file, options...
  local file=$1; shift
  uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
    --no-emit-index-url --no-emit-find-links --no-header --no-annotate \
    --exclude-newer "$newest" --quiet --output-file "locks/$file" "$@"
}
compile operator.txt --extra operator
compile pods.txt --extra trainer --extra server
# Above the shared layer: what is there already stays as it is.
compile monitor.txt --extra monitor --constraint locks/pods.txt
compile ray.txt --extra ray --constraint locks/pods.txt
compile feast.txt --extra feast --constraint locks/pods.txt
compile demo.txt --extra demo --no-deps
compile dev.txt --all-extras --override locks/overrides.txt
