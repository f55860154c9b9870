# Everything starts here. Each target sets up what it needs first, so that one command is enough on a fresh clone.

PYTHON ?= python3
BIN := .venv/bin
DATA_DIR ?= $(or $(SOMAGENT_DATA_DIR),.somagent)
PORT ?=
SHARE ?=
PYTEST_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup ready ready-for-tests up down status demo flow test bench lint format lock docs deploy-check chaos clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Make .venv and get the servers' binaries; quick when all is there
	@$(PYTHON) deploy/local/bootstrap.py
	@$(BIN)/python -m somagent.deploy.local.setup
	@echo "[setup] done; next: make demo, or make up"

ready:
	@$(PYTHON) deploy/local/bootstrap.py
	@$(BIN)/python -m somagent.deploy.local.setup --quiet

ready-for-tests:
	@$(PYTHON) deploy/local/bootstrap.py
	@$(BIN)/python -m somagent.deploy.local.setup --quiet --for-tests

up: ready ## Start the stack (DATA_DIR=.somagent PORT=8080 SHARE=name=folder)
	@$(BIN)/somagent up --detach --data-dir "$(DATA_DIR)" $(if $(PORT),--port "$(PORT)") $(if $(SHARE),--share "$(SHARE)")

down: ready ## Stop the stack; its data stays
	@$(BIN)/somagent down --data-dir "$(DATA_DIR)"

status: ready ## Show what runs
	@$(BIN)/somagent status --data-dir "$(DATA_DIR)"

demo: ready ## Submit, review, install and run a real capsule; leaves the stack up
	@$(BIN)/python -m somagent.examples.demo

flow: ready ## Walk through the gate on the running stack, from a password to a verified audit chain
	@$(BIN)/python -m somagent.examples.integration_flow

test: ready-for-tests ## Run every test on real servers (PYTEST_ARGS="-k name")
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

chaos: ready-for-tests ## Kill processes in the middle of work and count the effects
	@$(BIN)/python -m pytest tests/faults $(PYTEST_ARGS)

bench: ready ## Measure against bare Temporal and bare FastAPI (FULL=1 for 5,000 jobs)
	@$(BIN)/python -m somagent.benchmarks.run

lint: ready .types/somagent ## Check style, types, imports and the package list
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy -p somagent
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python -m somagent.deploy.local.packaging

format: ready ## Put the code into its standard form
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

lock: ready ## Renew requirements.lock from pyproject.toml
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-header \
		--group dev --extra kafka pyproject.toml -o requirements.lock

docs: ready ## Renew docs/API.md and the table of actions in docs/Capsules.md
	@$(BIN)/python -m somagent.api.reference --write

deploy-check: ready ## Render and check the charts and the compose file
	@$(BIN)/python -m somagent.deploy.check

clean: ## Remove what lint, tests and builds leave behind (not the data, not .venv)
	@rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .schemathesis .import_linter_cache .types

# mypy wants to see the package under its name; the folder itself may be called anything.
.types/somagent:
	@mkdir -p .types && ln -sfn .. $@
