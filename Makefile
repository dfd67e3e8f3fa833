SHELL := /bin/bash
.DEFAULT_GOAL := help
PY := .venv/bin/python

help: ## print this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

.venv/.ready: pyproject.toml locks/dev.txt locks/overrides.txt
	@dev/venv.sh

venv: .venv/.ready ## make the developers' environment in .venv

check: venv ## ruff, mypy strict, import-linter, unit and property tests: under a minute
	@dev/check.sh

lock: venv ## write locks/*.txt anew from pyproject.toml
	@PATH=$(CURDIR)/.venv/bin:$$PATH dev/lock.sh

.PHONY: help venv check lock
