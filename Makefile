# Docker Runner. `make help` shows what there is.

# Python must be allowed to keep its bytecode: every start would be three times slower without it.
unexport PYTHONDONTWRITEBYTECODE
# A test that hangs is ended after so many seconds, and named. Its fixtures count, of which some start an Airflow.
export PYTEST_TIMEOUT := 900
thorough: export PYTEST_TIMEOUT := 3600
faults storm crashes requests: export PYTEST_TIMEOUT := 0
.DEFAULT_GOAL := help
.PHONY: help setup run up down test thorough check faults grown storm crashes requests rules bench clean
PYTHON := .venv/bin/python
DAG := sample.daily-delays--new-york-delays

help: ## show this
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1|/' | awk -F'|' '{printf "  make %-8s %s\n", $$1, $$2}'

setup: ## install what is missing: Python environment, Docker engine, images
	@scripts/setup.sh

run: setup ## run the sample configuration through Airflow and show what happened
	@scripts/load_sample_data.sh
	@$(PYTHON) scripts/run_sample.py $(DAG)

up: setup ## start Airflow with its UI and say where it is
	@scripts/load_sample_data.sh
	@$(PYTHON) scripts/airflow_local.py up

down: ## stop Airflow
	@$(PYTHON) scripts/airflow_local.py down

check: setup ## lint, format, types
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy include/docker_runner plugins/docker_runner_airflow scripts

test: check ## the tests; sets up what is missing first
	@scripts/ensure_registry.sh >/dev/null
	@scripts/ensure_postgres.sh >/dev/null
	@$(PYTHON) -m pytest -n 3 -m "not airflow and not thorough"
	@$(PYTHON) -m pytest -m "airflow and not thorough"

thorough: setup ## the tests that make test leaves out because they take long
	@scripts/ensure_registry.sh >/dev/null
	@scripts/ensure_postgres.sh >/dev/null
	@$(PYTHON) -m pytest -m thorough

grown: setup ## whole runs on PostgreSQL, object storage, the stock executor and two API processes, and on Celery workers
	@scripts/ensure_registry.sh >/dev/null
	@scripts/ensure_postgres.sh >/dev/null
	@scripts/ensure_celery.sh >/dev/null
	@DOCKER_RUNNER_GROWN=1 $(PYTHON) -m pytest -m "not faults" tests/end_to_end --ignore tests/end_to_end/test_local_airflow.py

faults: setup ## kill workers, scheduler, triggerer and engine while runs are under way, 36 times
	@DOCKER_RUNNER_FAULTS=36 $(PYTHON) -m pytest -s -m faults

storm: setup ## let 16 processes commit to one Storage 30 times each, on SQLite and on PostgreSQL
	@scripts/ensure_postgres.sh >/dev/null
	@DOCKER_RUNNER_STORM_PROCESSES=16 DOCKER_RUNNER_STORM_COMMITS=10 $(PYTHON) -m pytest -s tests/integration/storage/test_storm.py

crashes: setup ## kill processes that write to a Storage and maintain it 180 times, on SQLite and on PostgreSQL
	@scripts/ensure_postgres.sh >/dev/null
	@DOCKER_RUNNER_CRASHES=40 DOCKER_RUNNER_CRASHES_ROWS=1000000 $(PYTHON) -m pytest -s tests/integration/storage/test_crashes.py

requests: setup ## send 2,000 requests that were made from the HTTP API's description, right and wrong ones
	@DOCKER_RUNNER_API_REQUESTS=2000 $(PYTHON) -m pytest -s tests/integration/api/test_schemathesis.py

rules: setup ## which tests prove each rule of the contract (docs/contract.md); fails when a rule has none
	@$(PYTHON) scripts/rules.py

bench: setup ## what a run costs beside a bare container and a no-op DAG, with thousands of configurations, and Storage beside raw DuckDB
	@$(PYTHON) -m tests.benchmarks

clean: ## stop Airflow and remove everything that runs have left here, Storage too; encryption keys stay
	@if [ -x $(PYTHON) ]; then $(PYTHON) scripts/airflow_local.py down --for-good; fi
	@if [ -d .local ]; then find .local -mindepth 1 -maxdepth 1 ! -name keys -exec rm -rf {} +; fi
