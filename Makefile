# Everything runs in .venv, built from pyproject.toml under the pins of constraints.txt.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help install demo test test-full test-tl3 nightly lint format studies notebooks docs reliability bench bench-full clean

help: ## List the targets
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## (.*)/\1\t\2/' | expand -t 14

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

install: .venv/.installed ## Build .venv

demo: install ## Fit and evaluate SITE on the embedded demo model; writes runs/demo/
	$(BIN)/site-lens demo --out runs/demo --replace

test: install ## Run the tests (minutes)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not slow"

test-full: install ## Run the tests and what is slow, too
	$(BIN)/python -m pytest

# The last TransformerLens that has HookedTransformer, in an environment of its own.
.venv-tl3/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-tl3
	sed 's/^transformer-lens==.*/transformer-lens==3.9.0/' constraints.txt > .venv-tl3/constraints.txt
	.venv-tl3/bin/python -m pip install --quiet --disable-pip-version-check -c .venv-tl3/constraints.txt -e '.[test]'
	@touch $@

test-tl3: .venv-tl3/.installed ## Run the tests of models and fits under TransformerLens 3.9
	OMP_NUM_THREADS=1 .venv-tl3/bin/python -m pytest -n 2 -m "not slow" tests/models tests/oracle tests/interventions tests/selectors tests/baselines

nightly: install ## Try every loader on 5,000 strange files
	$(BIN)/python -m pytest tests/safety --hypothesis-profile=nightly

lint: install ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install ## Put code and notebooks into their form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

BENCH = $(BIN)/python -m analysis.benchmarks.run $(BENCH_ARGS)

bench: install ## Measure speed against the published loop (10 minutes; needs the paper's AG News, see docs/benchmarks.md)
	$(BENCH) --rows 1 4 6 7 8

bench-full: install ## The same with the rows that take longer, and how cost grows
	$(BENCH)

studies: install ## Run all studies on the demo model and write docs/results (under 20 minutes; nothing where nothing has changed)
	$(BIN)/python -m analysis.studies --pages

notebooks: install ## Remake the .ipynb files from their .py pairs
	$(BIN)/jupytext --to ipynb --update-metadata '{"kernelspec":{"name":"python3","display_name":"Python 3","language":"python"}}' notebooks/*.py

reliability: install ## Put sweeps through faults and write docs/reliability.md
	$(BIN)/python -m analysis.reliability --page docs/reliability.md

docs: install ## Build the manual into build/docs; a warning is an error
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs build/docs
	@echo build/docs/index.html

clean: ## Remove .venv and what the tools left behind
	rm -rf .venv .venv-tl3 .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist *.egg-info
