#!/usr/bin/env bash
# Take the demo and its operator away; the cluster stays.
set -euo pipefail
cd "$(dirname "$0")/../.."
KUBECONFIG=$(python3 -m dev.cluster kubeconfig)
export KUBECONFIG
kubectl=$(python3 -m dev.cluster kubectl)
"$kubectl" delete namespace demo --ignore-not-found --wait=true
"$kubectl" delete -k manifests/quickstart --ignore-not-found --wait=true
