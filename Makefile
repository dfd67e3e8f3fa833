SHELL := /bin/bash
.DEFAULT_GOAL := help
CLUSTER := python3 -m dev.cluster

help: ## print this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

.venv/.ready: pyproject.toml locks/dev.txt locks/overrides.txt
	@dev/venv.sh

venv: .venv/.ready ## make the developers' environment in .venv

check: venv ## ruff, mypy strict, import-linter, unit and property tests: under a minute
	@dev/check.sh

test: venv ## everything, the real cluster included: the README's test command
	@dev/test.sh

e2e: venv ## the part of `test` that needs the real cluster: API server, gateway, pods, faults
	@dev/test.sh cluster faults e2e

verify: venv ## generated files (CRDs, reference pages, roles) say what the code says
	@.venv/bin/python dev/generate.py --check
	@.venv/bin/python dev/rbac.py --check

generate: venv ## write the generated files anew
	@.venv/bin/python dev/generate.py
	@.venv/bin/python dev/rbac.py

cluster: ## a real Kubernetes cluster from one command (CONTEXT=name uses an existing one)
	@$(CLUSTER) up $(if $(CONTEXT),--context $(CONTEXT))

cluster-down: ## take the cluster away; nothing of it stays but the cache
	@$(CLUSTER) down

kubeconfig: ## print the path of the cluster's kubeconfig
	@$(CLUSTER) kubeconfig

images: cluster ## build the programs' images and load them into the cluster
	@$(CLUSTER) images

demo: venv images ## the story: train, serve, promote a better model, roll a bad one back
	@.venv/bin/python -m dev.demo "$$($(CLUSTER) kubectl)" "$$($(CLUSTER) kubeconfig)"

demo-down: ## take the demo and its operator away, keep the cluster
	@dev/demo/down.sh

bench: venv ## verdict and drift rules, checks, thousands of objects, beside the anchors; writes benchmarks/results
	@dev/bench.sh

soak: venv images ## what `test` has no time for: Feast, Ray, PostgreSQL, language models, Prometheus, autoscaling, the other examples; then an hour under load with pods killed at random (ROLLOUTS=100: until then)
	@dev/test.sh extras gallery llm prometheus autoscaling soak

lock: venv ## write locks/*.txt anew from pyproject.toml
	@PATH=$(CURDIR)/.venv/bin:$$PATH dev/lock.sh

.PHONY: help venv check test e2e verify generate cluster cluster-down kubeconfig images demo \
	demo-down bench soak lock
