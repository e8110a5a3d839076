# One command each, from a bare checkout: Python >= 3.11 and make are all that is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BENCH_VENV := .venv-bench
DOCS_VENV := .venv-docs

.DEFAULT_GOAL := help
.PHONY: help demo run client docs test test-slow check bench chaos day soak mutants lock clean

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 11

# Prints in one line what is missing: Python, a version new enough, or its venv module.
$(VENV)/run.stamp: requirements.txt
	@command -v $(PYTHON) >/dev/null || \
		{ echo "$(PYTHON) is not found: install Python 3.11 or newer, or set PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is older than Python 3.11: set PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "$(PYTHON) has no venv module: install it (Debian, Ubuntu: apt install python3-venv)"; exit 1; }
	@$(BIN)/python -c 'import pip' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	@echo "installing $$(grep -c '^[a-z].*==' requirements.txt) packages (about 86 MB) into $(VENV): a minute or two, only this once ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@echo "installed"
	@touch $@

$(VENV)/dev.stamp: requirements-dev.txt $(VENV)/run.stamp
	@echo "installing the test tools into $(VENV): a minute or two, only this once ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

demo: $(VENV)/run.stamp ## the whole service against the simulated exchanges, offline, then cleaned up
	@$(BIN)/python main.py demo

run: $(VENV)/run.stamp ## the service against the live exchanges
	@$(BIN)/python main.py serve

client: $(VENV)/dev.stamp ## builds perpcache-client, the package for Python programs, into client/dist
	$(BIN)/uv build client --out-dir client/dist

docs: $(DOCS_VENV)/run.stamp ## builds the pages of docs/ into a site, docs/site/built/index.html; warnings are errors
	@$(DOCS_VENV)/bin/python -m sphinx -q -W --keep-going -c docs/site -d docs/site/built/.doctrees . docs/site/built
	@echo "the site: docs/site/built/index.html"

# Tests start hundreds of programs: compiled modules are kept, also where PYTHONDONTWRITEBYTECODE is
# set, or each start would compile them again.
test test-slow: export PYTHONDONTWRITEBYTECODE :=

# The tests of the page need Chromium; without one they are skipped, and say so.
.PHONY: chromium
chromium:
	@{ command -v chromium || command -v chromium-browser || command -v google-chrome || command -v chrome; } >/dev/null || \
		{ [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && echo "installing Chromium for the tests of the page ..." && \
		apt-get -qq update && apt-get -qq install --no-install-recommends chromium >/dev/null; } || \
		echo "no Chromium: the tests of the page are skipped (Debian: apt install chromium)"

# The modules of the tests are compiled on the core that mypy leaves idle, or all processes of pytest
# would do it at once. More of these than cores: tests wait for servers and deadlines, too.
test: $(VENV)/dev.stamp chromium ## lint, types and the whole test suite
	@$(BIN)/python -m pytest --collect-only -q >/dev/null 2>&1 & \
		$(MAKE) --no-print-directory check; checked=$$?; wait; exit $$checked
	$(BIN)/python -m pytest -n 6 --dist worksteal

test-slow: $(VENV)/dev.stamp chromium ## the tests that take long and that `make test` leaves out
	$(BIN)/python -m pytest -m slow -n logical --maxprocesses 4 --dist worksteal

check: $(VENV)/dev.stamp ## lint, types, and known vulnerabilities of the pinned packages (skipped offline)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m mypy
	@$(BIN)/python -m tests.audit requirements.txt requirements-dev.txt

bench: $(VENV)/run.stamp $(BENCH_VENV)/run.stamp ## speed and memory beside nginx, bare ASGI, ccxt and orjson
	@$(BIN)/python -m benchmarks $(BENCH)

chaos: $(VENV)/dev.stamp ## breaks everything around the service for some minutes and checks every read
	@$(BIN)/python -m chaos $(CHAOS)

day: $(VENV)/dev.stamp ## a simulated day of closes with faults (SEED=n), every document compared: some minutes
	@DAY_CLOSES=288 DAY_MARKETS=20 DAY_SEED=$(or $(SEED),$(shell date +%s)) \
		$(BIN)/python -m pytest tests/day -n0 -q -s --tb=line

soak: $(VENV)/dev.stamp ## two simulated days of closes by streams that are cut (SEED=n), all compared: half an hour
	@SOAK_HOURS=48 SOAK_SEED=$(or $(SEED),$(shell date +%s)) \
		$(BIN)/python -m pytest tests/day/test_soak.py -m slow -n0 -q -s --tb=line

mutants: $(VENV)/dev.stamp ## changes the code in MUTANTS=300 small ways (SEED=n) and lists those no test notices
	@$(BIN)/python -m mutants $(if $(MUTANTS),--count $(MUTANTS)) $(if $(SEED),--seed $(SEED))

# The packages that the benchmarks compare with have an environment of their own. Without it, their
# rows are left out.
$(BENCH_VENV)/run.stamp: requirements-bench.txt $(VENV)/run.stamp
	@test -x $(BENCH_VENV)/bin/python || $(PYTHON) -m venv $(BENCH_VENV)
	@echo "installing what the benchmarks compare with into $(BENCH_VENV): a minute, only this once ..."
	@$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
		--require-hashes -r requirements-bench.txt
	@touch $@

$(DOCS_VENV)/run.stamp: requirements-docs.txt $(VENV)/run.stamp
	@test -x $(DOCS_VENV)/bin/python || $(PYTHON) -m venv $(DOCS_VENV)
	@echo "installing what builds the site into $(DOCS_VENV): a minute, only this once ..."
	@$(DOCS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
		--require-hashes -r requirements-docs.txt
	@touch $@

# Only versions at least a week old: a bad release is usually withdrawn by then.
lock: $(VENV)/dev.stamp ## pin requirements*.txt again from requirements*.in
	@for set in requirements requirements-socks requirements-lake requirements-browser requirements-databases requirements-mcp requirements-dev requirements-bench requirements-docs requirements-freqtrade requirements-recipes; do \
		$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
			--upgrade --exclude-newer "$$(date -u -d '7 days ago' +%Y-%m-%dT00:00:00Z)" \
			--no-emit-index-url --no-emit-find-links \
			--custom-compile-command "make lock" $$set.in -o $$set.txt; done

clean: ## removes the environment (never the data)
	rm -rf $(VENV) $(BENCH_VENV) $(DOCS_VENV) .venvs
