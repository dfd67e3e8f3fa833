#!/usr/bin/env bash
# Run the benchmarks and write what they print, with date, machine kind and versions.
set -euo pipefail
cd "$(dirname "$0")/.."
result=benchmarks/results/verdict-$(date -u +%Y%m%d).txt
{
  echo "date: $(date -u +%Y-%m-%d), machine: $(nproc) cores, $(uname -m), $(.venv/bin/python --version)"
  .venv/bin/python benchmarks/verdict/reproduce.py --runs "${RUNS:-200}"
} | tee "$result"
echo "written to $result"
