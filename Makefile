# Every target that needs the virtual environment creates it first.

PYTHON ?= python3
VENV := $(CURDIR)/.venv
BIN := $(VENV)/bin
WORKSPACE ?= .
TINY ?= ../tiny

.PHONY: help install retrain repro fclip-tiny test test-slow test-browser test-properties benchmark-overhead benchmark-ingest \
  benchmark-train benchmark-tiny benchmark-tower benchmark-ablation benchmark-selection benchmark-evaluate benchmark-embed \
  benchmark-refresh benchmark-search benchmark-serve docs docs-serve test-docs \
  lint types format clean

help:                    ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 12

install: $(VENV)/.installed  ## create .venv with the project and its dependencies

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "fclip needs Python 3.11 or newer: make PYTHON=python3.11 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	@touch $@

retrain: install         ## run the whole pipeline; WORKSPACE=PATH selects another workspace
	@cd $(WORKSPACE) && $(BIN)/python -m flows.cli retrain

repro: install           ## write the pins and run the DVC stages only, without registry and promotion
	@cd $(WORKSPACE) && $(BIN)/python -m flows.cli pin && PATH=$(BIN):$$PATH $(BIN)/dvc repro

fclip-tiny: install      ## train the bundled model fclip-tiny again in a workspace at TINY (about an hour)
	test -d $(TINY) || $(BIN)/fclip workspace new $(TINY) --params params/fclip-tiny.yaml
	cd $(TINY) && $(BIN)/python -m flows.cli retrain
	$(BIN)/python -m fclip.export.fclip_tiny $(TINY)/models/selected

test: lint types         ## run lint, format check, type check and tests
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-slow: install       ## run the tests that take minutes
	$(BIN)/python -m pytest -m slow

test-browser: install    ## run the tests of the service's page in headless Chromium (Debian's package chromium)
	$(BIN)/python -m pytest -m slow -n 0 tests/fclip/serve/test_browser.py

test-properties: install  ## run the property tests on thousands of new random examples
	$(BIN)/python -m pytest -m hypothesis --hypothesis-profile search -n 2 --dist worksteal

benchmark-overhead: install  ## compare commands, unchanged runs and stages with the programs they use (needs an idle machine)
	$(BIN)/python -m benchmarks.overhead --work benchmarks/results/overhead --out benchmarks/results/overhead.json

benchmark-ingest: install  ## compare ingest with img2dataset; measure memory and incremental ingest (needs an idle machine)
	$(BIN)/python -m benchmarks.ingest --memory --incremental --out benchmarks/results/ingest.json

benchmark-train: install  ## compare training with open_clip; measure precisions and time to a score (needs an idle machine)
	$(BIN)/python -m benchmarks.train --quality --out benchmarks/results/train.json

benchmark-tiny: install  ## evaluate fclip-tiny on datasets that were not used in training
	$(BIN)/python -m benchmarks.tiny --work benchmarks/results/tiny --out benchmarks/results/tiny.json

benchmark-tower: install  ## measure the cost of image towers on a CPU (needs an idle machine)
	$(BIN)/python -m benchmarks.tower --work benchmarks/results/tiny --out benchmarks/results/tower.json

benchmark-ablation: install  ## measure the effect of each part of the training recipe (one run per row, hours)
	$(BIN)/python -m benchmarks.ablation --work benchmarks/results/ablation --limit 12000 --epochs 2

benchmark-selection: install  ## run trainings on real data for the study of selection rules (half an hour each)
	$(BIN)/python -m benchmarks.selection --work benchmarks/results/selection

benchmark-evaluate: install  ## compare the evaluation of several models with other projects (needs an idle machine)
	$(BIN)/python -m benchmarks.evaluate --work benchmarks/results/tiny --out benchmarks/results/evaluate.json

benchmark-embed: install  ## compare the speed of embedding with fashion-clip and open_clip (needs an idle machine)
	$(BIN)/python -m benchmarks.embed --work benchmarks/results/embed --out benchmarks/results/embed.json

benchmark-refresh: install  ## measure the cost of a refresh after 1 % of the products changed (needs an idle machine)
	$(BIN)/python -m benchmarks.refresh --work benchmarks/results/refresh --out benchmarks/results/refresh.json

benchmark-search: install  ## compare search by vector with LanceDB and FAISS, called directly (needs an idle machine, 14 GB)
	$(BIN)/python -m benchmarks.search --work benchmarks/results/search --out benchmarks/results/search.json

benchmark-serve: install  ## compare the search service with calls in process; measure memory over many requests (needs an idle machine)
	$(BIN)/python -m benchmarks.serve --work benchmarks/results/serve --out benchmarks/results/serve.json

docs: install            ## build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

docs-serve: install      ## serve the documentation at http://127.0.0.1:8000 and rebuild it on each change
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

test-docs: install       ## run every command that README and docs/ show; takes minutes
	$(BIN)/python -m pytest tests/docs -m "slow or not slow"

lint: install            ## check with ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install           ## check types with mypy
	$(BIN)/mypy

format: install          ## fix and format the code with ruff
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:                   ## delete caches (outputs stay)
	rm -rf cache .mypy_cache .ruff_cache .pytest_cache
