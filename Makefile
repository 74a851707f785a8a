PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast peers check lint types architecture format clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(READY): pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is needed; or name another: make PYTHON=python3.12 ..." >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable . --group dev
	@touch $@

demo: $(READY)  ## a run against the embedded simulator: 20 s, with planted faults
	$(BIN)/vision run configs/demo.yaml

# four workers for two cores: half of them have live runs, which mostly wait (tests/real_time.py)
test: $(READY)  ## the whole test suite
	$(BIN)/python -m pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder

test-fast: $(READY)  ## the tests that take less than five seconds each
	$(BIN)/python -m pytest -m "not slow"

peers:  ## what the tests against a real Janus need from npm
	npm install --prefix tests/peers/janus_whep --no-package-lock --ignore-scripts --no-audit --no-fund --silent

check: lint types architecture  ## ruff, mypy and the import rules

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

architecture: $(READY)
	$(BIN)/lint-imports

format: $(READY)  ## lay the code out
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove what was made
	rm -rf $(VENV) runs .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis tests/peers/janus_whep/node_modules
