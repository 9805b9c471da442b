# Everything a developer runs. Needs make and Python 3.11 or later; all else is installed into .venv.
# Another Python: make setup PYTHON=/path/to/python3.12      Arguments for a tool: make test ARGS="tests/unit -x"

VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=
OLD := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$p -c '$(OLD)' 2>/dev/null && echo $$p && break; done)
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo test chaos kills simulate-faults gate bench bench-peers bench-queries pictures docs fmt clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(INSTALLED) ## Create .venv with everything in it; does nothing when it is up to date

$(INSTALLED): pyproject.toml
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or later found; name one: make setup PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c '$(OLD)' || { echo "$(PYTHON) is not Python 3.11 or later; name another: make setup PYTHON=..." >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "$(PYTHON) cannot make a virtual environment; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@echo "Installing into $(VENV) (about a minute the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input -e '.[test,dev,demo]'
	@touch $@

demo: setup ## Run the whole pipeline on an embedded broker and an embedded ClickHouse
	@$(BIN)/runstep demo $(ARGS)

# loadfile keeps a file's private servers in one worker; in the order of the files the long acceptance tests start first.
test: setup ## Run all tests on real Kafka, ClickHouse and Prometheus, which it fetches and starts itself
	@$(BIN)/python -m tests.servers.downloads
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not chaos" $(ARGS)

chaos: setup ## Run every failure scenario on real servers, the long ones too
	@$(BIN)/python -m tests.servers.downloads
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder tests/scenarios tests/simulation $(ARGS)
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m chaos tests/acceptance tests/integration $(ARGS)

kills: setup ## Kill daemon, ClickHouse and broker 200 times under load, and account for every record
	@$(BIN)/python -m tests.servers.downloads
	@$(BIN)/python -m tests.scenarios.kills $(ARGS)

# SEEDS=100000 runs so many, SEED=4711 runs one again and shows what happened.
SEEDS ?= 10000
simulate-faults: setup ## Run the pipeline through simulated faults: SEEDS=10000 schedules, or SEED=n again
	@$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED) --trace,--seeds $(SEEDS)) $(ARGS)

gate: setup ## Check format, lint, types and the direction of imports
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: setup ## Measure events per second and CPU per event on real servers, beside a naive pipeline
	@$(BIN)/python -m tests.servers.downloads
	@$(BIN)/python -m tests.benchmarks $(ARGS)

bench-peers: setup ## Measure the daemon beside ClickHouse's Kafka engine and other pipelines; ten minutes, ARGS="--help"
	@$(BIN)/python -m tests.servers.downloads
	@$(BIN)/python -m tests.benchmarks.peers $(ARGS)

bench-queries: setup ## Measure every report of runstep query on ten million steps; a quarter of an hour
	@$(BIN)/python -m tests.servers.downloads
	@$(BIN)/python -m tests.benchmarks.analytics $(ARGS)

pictures: setup ## Take the pictures of the dashboards in deploy/pictures, from a real run; needs npm and chromium
	@$(BIN)/python -m tests.servers.downloads
	@$(BIN)/python -m deploy.pictures.make $(ARGS)

docs: setup ## Write the generated blocks of the documents again
	@$(BIN)/python -m tests.documents

fmt: setup ## Format the code and fix what the linter can fix
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean: ## Remove .venv, caches and build output; the fetched test servers stay
	@rm -rf $(VENV) build dist *.egg-info .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
