#!/usr/bin/env bash
# Run the tests by stage and say how many ran and how long each stage took.
#   dev/test.sh              everything but what `make soak` runs
#   dev/test.sh cluster e2e  these stages alone
#   dev/test.sh extras       Feast, Ray and PostgreSQL, whose images and tests `make test` has no time for
# Stages that need the real cluster start it and leave it running; `make cluster-down` ends it.
set -uo pipefail
cd "$(dirname "$0")/.."
stages=("$@")
[ ${#stages[@]} -gt 0 ] || stages=(check verify pods statistics cluster faults e2e)
export PATH="$PWD/.venv/bin:$PATH"
report=() failed=0 total=0
statistics=(python -m pytest -q tests/statistics tests/shell tests/contracts)

run() { # stage, command...
  local stage=$1 started=$SECONDS log code ran
  shift
  log=$(mktemp)
  echo
  echo "== $stage"
  "$@" 2>&1 | tee "$log"
  code=${PIPESTATUS[0]}
  ran=$(grep -aoE '[0-9]+ passed' "$log" | awk '{s += $1} END {print s + 0}')
  rm -f "$log"
  total=$((total + ran))
  report+=("$(printf '%-12s %6d tests %5d s  %s' "$stage" "$ran" $((SECONDS - started)) "$([ "$code" = 0 ] && echo ok || echo FAILED)")")
  [ "$code" = 0 ] || failed=1
  return "$code"
}

asides=$(mktemp -d)
trap 'rm -rf "$asides"' EXIT

begin() { # stage, command...: start what needs no cluster beside another stage; `ended` waits for it
  local stage=$1
  shift
  { "$@" >"$asides/$stage" 2>&1; echo $? >"$asides/$stage.code"; } &
}
ended() { # stage
  while [ ! -e "$asides/$1.code" ]; do sleep 1; done
  cat "$asides/$1"
  return "$(cat "$asides/$1.code")"
}

cluster_up() { python3 -m dev.cluster up; }
images() { python3 -m dev.cluster images; }
verify() { python dev/generate.py --check && python dev/rbac.py --check; }

needs_cluster=0
for stage in "${stages[@]}"; do
  case $stage in cluster | faults | e2e | prometheus | autoscaling | extras | gallery | llm | soak) needs_cluster=1 ;; esac
done
if [ $needs_cluster = 1 ]; then
  run "cluster up" cluster_up && run images images || { printf '%s\n' "${report[@]}"; exit 1; }
  LINNET_KUBECONFIG=$(python3 -m dev.cluster kubeconfig)
  export LINNET_KUBECONFIG
  PATH="$(dirname "$(python3 -m dev.cluster kubectl)"):$PATH"
fi

for stage in "${stages[@]}"; do
  case $stage in
    check) run check dev/check.sh ;;
    verify) run verify verify ;;
    pods)
      # Each keeps one core busy.
      [[ " ${stages[*]} " == *" statistics "* ]] && begin statistics "${statistics[@]}"
      run pods python -m pytest -q tests/trainer tests/server tests/monitor
      ;;
    statistics)
      if [[ " ${stages[*]} " == *" pods "* ]]; then
        run statistics ended statistics
      else
        run statistics "${statistics[@]}"
      fi
      ;;
    cluster) run cluster python -m pytest -q tests/cluster ;;
    faults) run faults python -m pytest -q tests/faults ;;
    e2e)
      before=$failed
      if ! run e2e python -m pytest -q tests/e2e; then
        # Two cores run node, pods, gateway and tests: what failed is told above, and is tried once
        # more by itself. What fails then has failed.
        failed=$before
        run "e2e again" python -m pytest -q --last-failed --last-failed-no-failures none tests/e2e
      fi
      ;;
    prometheus)
      run "prometheus up" python3 -m dev.cluster prometheus &&
        run prometheus python -m pytest -q tests/e2e/prometheus.py
      ;;
    autoscaling)
      run "metrics up" python3 -m dev.cluster metrics &&
        run autoscaling python -m pytest -q tests/e2e/autoscaling.py
      ;;
    extras)
      run "extras up" python3 -m dev.cluster images trainer-ray trainer-feast redis postgresql &&
        run extras python -m pytest -q tests/trainer/raytune.py \
          tests/e2e/raytune.py tests/e2e/feast.py tests/e2e/postgresql.py
      ;;
    gallery) run gallery python -m pytest -q tests/e2e/gallery.py ;;
    llm) run llm python -m pytest -q tests/trainer/language_models.py tests/e2e/llm.py ;;
    soak) PYTHONPATH=tests run soak python -m tests.soak ${ROLLOUTS:+--rollouts "$ROLLOUTS"} ;;
    *) echo "no stage '$stage': check, verify, pods, statistics, cluster, faults, e2e, prometheus, autoscaling, extras, gallery, llm, soak" >&2; exit 2 ;;
  esac
done

echo
printf '%s\n' "${report[@]}"
if [ $failed = 0 ]; then echo "$total passed, 0 failed"; else echo "$total passed, stages failed: see above"; fi
exit $failed
