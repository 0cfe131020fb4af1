# `make help` lists everything. Two commands matter: `make demo` and `make test`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
BENCH  := .venv-bench
READY  := $(VENV)/.ready
JOBS   ?= auto
SIZE   ?= 1000
CACHE  ?= off
SEEDS  ?= 0 5000

.DEFAULT_GOAL := help
.PHONY: help install demo dev test test-all test-matrix lint types tests format docs pictures conformance random mutation fuzz soak bench profile lock dist clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

install: $(READY) ## Create the virtual environment from requirements/dev.txt
	@echo "$(VENV) is ready. Next: make demo, make dev or make test"

$(READY): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 10) else "Python 3.10 or later is needed, this is " + sys.version.split()[0] + "; name another one: make PYTHON=python3.12 ...")'
	@echo "Installing $$(grep -c '^[a-z]' requirements/dev.txt) packages into $(VENV): 1 to 3 minutes"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY) ## Run every job of the example on real data, twice (two batches), with the embedded DuckDB engine
	@echo "Running the example: about half a minute"
	$(BIN)/python -m examples.demo

dev: $(READY) ## Open Dagster on the example (http://127.0.0.1:3000); SL_ROOT=... for another project
	$(BIN)/python -m examples.dev

test: lint types tests ## Run the linter, type checks and tests, except slow tests and the measurements of bench/

test-all: lint types ## Run the linter, type checks and all tests
	$(BIN)/pytest -n $(JOBS)

test-matrix: ## Run short tests with the lowest and the newest versions of the dependencies; PYTHONS="python3.10 python3.13" for more interpreters
	$(PYTHON) tests/version_matrix.py $(PYTHONS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/vulture
	$(BIN)/python .ci/prose.py

types: $(READY)
	$(BIN)/mypy

tests: $(READY) ## Run only the tests, except slow ones and measurements; JOBS=1 for one process
	$(BIN)/pytest -n $(JOBS) -m "not measurement and not slow"

format: $(READY) ## Format the code, and fix what the linter can fix
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

docs: $(READY) ## Update the generated tables of docs/, and build the site into .site/
	$(BIN)/python -m starlake_dagster_components.cli.docs docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo "Open .site/index.html"

pictures: $(READY) ## Take the pictures of docs/ in a browser (needs Chromium and chromedriver)
	PICTURES=docs/images $(BIN)/pytest -n 0 tests/browser

conformance: $(READY) ## Compare the embedded engine with the recorded behavior of the Starlake command line
	$(BIN)/python bench/conformance.py

random: $(READY) ## Compare the embedded engine with a model, on random projects and files; SEEDS="0 5000"
	$(BIN)/python tests/engine/random_projects.py $(SEEDS)

mutation: $(READY) ## Change the code in one place at a time, and show the changes that no test notices; ONLY="cache masking" for some files, SAMPLE=40
	$(BIN)/python bench/mutation.py $(ONLY) $(if $(SAMPLE),--sample $(SAMPLE))

fuzz: $(READY) ## Read projects with randomly changed files; N=20000 inputs, PROJECTS=... for other projects
	$(BIN)/python bench/fuzz.py $(or $(N),1000) $(if $(PROJECTS),--projects $(PROJECTS))

soak: $(READY) ## Run a real instance with arriving files and injected faults; SOAK_MINUTES=30
	$(BIN)/python bench/soak.py --minutes $(or $(SOAK_MINUTES),5)

bench: $(READY) ## Measure everything, and write bench/results.md; QUICK=1 for a miniature, ONLY=load,steps for parts
	$(if $(QUICK),,@$(MAKE) --no-print-directory $(BENCH)/.ready || echo "dagster-dbt cannot be installed: it will not be measured")
	$(BIN)/python bench/results.py --dbt $(BENCH)/bin/python $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY)) $(BENCH_OPTIONS)

$(BENCH)/.ready: requirements/bench.txt
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/bench.txt
	@touch $@

profile: $(READY) ## Profile loading; SIZE=5000 objects, CACHE=filled or off, SL_ROOT=... for your own project
	$(BIN)/python bench/profile_load.py $(SIZE) --cache $(CACHE) $(if $(SL_ROOT),--project $(SL_ROOT))

lock: ## Update requirements/dev.txt and bench.txt from dev.in and bench.in (needs uv)
	uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-header --no-annotate --override requirements/overrides.txt requirements/dev.in -o requirements/dev.txt
	uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-header --no-annotate requirements/bench.in -o requirements/bench.txt

dist: $(READY) ## Build the wheel and the source distribution into dist/
	$(BIN)/python -m hatchling build -t wheel -t sdist

clean: ## Remove everything that the other targets made
	rm -rf $(VENV) $(BENCH) dist .demo .site .dagster .bench .pytest_cache .mypy_cache .ruff_cache .hypothesis
