# `make retrain` and `make test` do all set-up themselves.

PYTHON ?= python3
VENV := $(CURDIR)/.venv
BIN := $(VENV)/bin
WORKSPACE ?= .
TINY ?= ../tiny

.PHONY: help install retrain repro fclip-tiny test test-slow test-properties benchmark-ingest benchmark-train \
  benchmark-tiny benchmark-tower benchmark-ablation benchmark-selection benchmark-evaluate docs docs-serve test-docs lint \
  types format clean

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

fclip-tiny: install      ## train the model that the package carries anew, on real data, in a workspace at TINY; an hour
	test -d $(TINY) || $(BIN)/fclip workspace new $(TINY) --params params/fclip-tiny.yaml
	cd $(TINY) && $(BIN)/python -m flows.cli retrain
	$(BIN)/python -m fclip.base_models.fclip_tiny $(TINY)/models/selected

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

benchmark-tiny: install  ## what fclip-tiny scores on data that trained nothing
	$(BIN)/python -m benchmarks.tiny --work benchmarks/results/tiny --out benchmarks/results/tiny.json

benchmark-tower: install  ## what an image tower costs on a CPU; give it the machine for itself
	$(BIN)/python -m benchmarks.tower --work benchmarks/results/tiny --out benchmarks/results/tower.json

benchmark-ablation: install  ## what each part of the recipe is worth: a run a row, hours
	$(BIN)/python -m benchmarks.ablation --work benchmarks/results/ablation --limit 12000 --epochs 2

benchmark-selection: install  ## runs on real data for the study of selection rules; half an hour each
	$(BIN)/python -m benchmarks.selection --work benchmarks/results/selection

benchmark-evaluate: install  ## evaluating several models against the peers' loops; give it the machine for itself
	$(BIN)/python -m benchmarks.evaluate --work benchmarks/results/tiny --out benchmarks/results/evaluate.json

docs: install            ## build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

docs-serve: install      ## serve the documentation at http://127.0.0.1:8000, rebuilt on each change
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

test-docs: install       ## run every command that README and docs/ show; takes minutes
	$(BIN)/python -m pytest tests/docs -m "slow or not slow"

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
