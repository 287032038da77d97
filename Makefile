.DEFAULT_GOAL := help
PYTHON := build/.venv-dev/bin/python
.PHONY: help check lint format types imports unit test binary demo bench docs lock clean

help: ## This list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 10

check: ## Lint, format, types, import rules, tests
	build/check
	$(MAKE) --no-print-directory unit

lint: venv ## Ruff and shellcheck
	build/.venv-dev/bin/ruff check . build/*.py build/bundled letsbe.spec

format: venv ## Put the source into shape
	build/.venv-dev/bin/ruff format . build/*.py build/bundled letsbe.spec
	build/.venv-dev/bin/ruff check --fix . build/*.py build/bundled letsbe.spec

types: venv ## mypy, strict
	build/.venv-dev/bin/mypy

imports: venv ## The rules of who may import whom
	build/.venv-dev/bin/lint-imports

unit: venv ## The tests but those of the built file and the goals for its speed
	$(PYTHON) -m pytest --ignore tests/test_build --ignore tests/bench

test: ## Everything, as CI does it: packages, engine, the built file, all tests
	build/test

binary: ## dist/letsbe with its checksums and the list of what is in it
	build/binary

demo: ## The whole way of a task, on this machine, cleaned up again
	build/demo

bench: ## Start-up and idle poll, as ratios
	tests/bench/run

docs: venv ## Write the reference pages from the code
	$(PYTHON) build/reference.py

lock: ## Pin the newest versions that pyproject.toml allows
	build/lock

clean: ## Remove what the scripts made here
	rm -rf dist build/.venv-* build/.work build/.cache

.PHONY: venv
venv:
	@build/venv dev
