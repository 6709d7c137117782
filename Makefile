# `make retrain` and `make test` do all set-up themselves.

PYTHON ?= python3
VENV := $(CURDIR)/.venv
BIN := $(VENV)/bin
WORKSPACE ?= .

.PHONY: help install retrain repro test test-slow test-properties benchmark-ingest benchmark-train lint types format clean

help:                    ## what there is to make
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 12

install: $(VENV)/.installed  ## .venv with the project and its dependencies

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "fclip needs Python 3.11 or newer: make PYTHON=python3.11 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	@touch $@

retrain: install         ## the whole loop; WORKSPACE=PATH for another catalog
	@cd $(WORKSPACE) && $(BIN)/python -m flows.cli retrain

repro: install           ## the DVC stages alone: pins first, no registry
	@cd $(WORKSPACE) && $(BIN)/python -m flows.cli pin && PATH=$(BIN):$$PATH $(BIN)/dvc repro

test: lint types         ## lint, format, types, tests
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-slow: install       ## the tests that take minutes
	$(BIN)/python -m pytest -m slow

test-properties: install  ## the property tests on thousands of new random examples
	$(BIN)/python -m pytest -m hypothesis --hypothesis-profile search -n 2 --dist worksteal

benchmark-ingest: install  ## ingest against img2dataset, memory and the next day's ingest; give it the machine for itself
	$(BIN)/python -m benchmarks.ingest --memory --incremental --out benchmarks/results/ingest.json

benchmark-train: install  ## training against open_clip's, precisions, minutes to a score; give it the machine for itself
	$(BIN)/python -m benchmarks.train --quality --out benchmarks/results/train.json

lint: install            ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install           ## mypy
	$(BIN)/mypy

format: install          ## mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:                   ## remove caches (never outputs)
	rm -rf cache .mypy_cache .ruff_cache .pytest_cache
