# Everything runs through `.venv/bin/python -m …`: the first line of an installed script breaks where the path of this
# folder has a space in it or is long. `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
PY := .venv/bin/python
DATA_DIR ?= data
RECIPIENTS ?= 100000
SEED ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# Debian packages of the suites that need them, each with the program that shows it is there.
SYSTEM_PACKAGES := chromium curl faketime nghttp2-client nghttp2-server pgbouncer postfix prometheus rabbitmq-server redis-server systemd
# and of the benchmarks
BENCH_PACKAGES := haproxy nghttp2-client nghttp2-server
PROGRAM_OF_chromium := chromium
PROGRAM_OF_curl := curl
PROGRAM_OF_faketime := faketime
PROGRAM_OF_haproxy := haproxy
PROGRAM_OF_nghttp2-client := h2load
PROGRAM_OF_nghttp2-server := nghttpd
PROGRAM_OF_pgbouncer := pgbouncer
PROGRAM_OF_postfix := smtp-sink
PROGRAM_OF_prometheus := promtool
PROGRAM_OF_rabbitmq-server := rabbitmq-server
PROGRAM_OF_redis-server := redis-server
PROGRAM_OF_systemd := systemd-analyze

# The official SDKs for JavaScript, which the tests drive; only where there is a Node to run them.
SDKS := tests/sdk/node_modules/.installed

# Tiers that start and kill whole stacks, and mostly wait for them.
WHOLE_STACKS := chaos acceptance

BANDIT := $(PY) -m bandit -q -r
# it warns of words in a comment behind `nosec`, and of each line that one of several lines would not have needed
QUIETLY := 2> >(grep -vE "^\[(manager|tester)\]" >&2)

.PHONY: help install install-sdks demo up test test-docs test-slow test-system test-system-slow test-system-packages docs chaos audit bench bench-packages clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 24

install: .venv/.installed ## create .venv and install everything; done again only when pyproject.toml or constraints.txt change
	@:

.venv/.installed: pyproject.toml constraints.txt
	@echo "install: creating .venv"
	@test -x $(PY) || $(PYTHON) -m venv .venv
	@echo "install: packages (a minute or two the first time)"
	@if [ -n "$${HOME:-}" ] && [ -w "$${HOME:-/nowhere}" ]; then :; else export PIP_NO_CACHE_DIR=1; fi; \
	  $(PY) -m pip install --quiet --no-warn-script-location --root-user-action=ignore -c constraints.txt -e '.[test]'
	@touch $@
	@echo "install: done"

install-sdks: install ## also the JavaScript SDKs that the tests drive, where there are Node and npm
	@if command -v node >/dev/null && command -v npm >/dev/null; then $(MAKE) -s $(SDKS); \
	  else echo "install-sdks: no Node or no npm; the JavaScript SDKs will not be driven" >&2; fi

$(SDKS): tests/sdk/package.json
	@echo "install-sdks: node-appwrite and appwrite, from npm"
	@if [ -n "$${HOME:-}" ] && [ -w "$${HOME:-/nowhere}" ]; then :; else \
	  export HOME="$(CURDIR)/.venv" npm_config_cache="$(CURDIR)/.venv/npm-cache"; fi; \
	  cd tests/sdk && npm install --loglevel=error --no-package-lock --no-audit --no-fund --no-update-notifier --ignore-scripts >/dev/null
	@touch $@

demo: install ## the whole system with provider stand-ins, one message through each channel
	@$(PY) -m messaging.local.demo

up: install ## the whole system with provider stand-ins, until Ctrl-C; DATA_DIR names the folder of its data
	@$(PY) -m messaging.local.up --data-dir "$(DATA_DIR)" --sandbox

test: install-sdks ## ruff, mypy, import contracts, bandit, and every test that needs no further packages
	@echo "test: ruff"
	@$(PY) -m ruff check .
	@echo "test: mypy"
	@$(PY) -m mypy
	@echo "test: lint-imports"
	@$(PY) -c 'import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())'
	@echo "test: bandit"
	@# as ruff has it: the store's statements are made of our own names, and the local stack starts our own programs
	@$(BANDIT) messaging workers -x messaging/store,messaging/local $(QUIETLY)
	@$(BANDIT) messaging/store --skip B608 $(QUIETLY)
	@$(BANDIT) messaging/local --skip B404,B603 $(QUIETLY)
	@# in the order of the folders: ordered by their number of tests, the few that take longest would come last
	@echo "test: pytest, what shares no processes, four files at a time"
	@$(PY) -m pytest -q -n 4 --dist loadfile --no-loadscope-reorder $(foreach tier,$(WHOLE_STACKS),--ignore=tests/$(tier))
	@echo "test: pytest, whole stacks, four files at a time"
	@$(PY) -m pytest -q -n 4 --dist loadfile $(addprefix tests/,$(WHOLE_STACKS))

chaos: install ## the fault table: everything that can go wrong on one machine, judged recipient by recipient (RECIPIENTS, SEED)
	@$(PY) -m tests.chaos --recipients $(RECIPIENTS) --seed $(SEED)

test-slow: install-sdks ## the tests that take minutes
	@$(PY) -m pytest -q -m "slow and not system"
	@echo "test-slow: properties, with a thousand examples that no run had before"
	@$(PY) -m pytest -q -m "hypothesis and not slow and not system" --hypothesis-profile=further

test-system-packages: ## print the Debian packages `make test-system` needs
	@echo $(SYSTEM_PACKAGES)

test-system: install-sdks ## the tests that need Debian packages; says which are missing
	@missing=; $(foreach package,$(SYSTEM_PACKAGES), \
	  PATH="$$PATH:/usr/sbin:/usr/local/sbin:/sbin" command -v $(PROGRAM_OF_$(package)) >/dev/null || missing="$$missing $(package)"; ) \
	if [ -n "$$missing" ]; then \
	  echo "test-system: missing:$$missing. Install with: apt-get install --no-install-recommends$$missing" >&2; exit 1; fi
	@echo "test-system: pytest"
	@$(PY) -m pytest -q -m "system and not slow"

test-system-slow: install ## the tests that need both: Debian packages and minutes
	@$(PY) -m pytest -q -m "system and slow"

test-docs: install-sdks ## every code block of the documentation, in order, against one stack; part of test-system
	@$(PY) -m pytest -q -m "system or not system" tests/docs

docs: install ## the documentation, into build/site, its reference made from the code first
	@$(PY) -m pip install --quiet --root-user-action=ignore -c constraints.txt -e '.[docs]'
	@$(PY) -m docs.generate
	@NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --quiet
	@$(PY) -m docs.generate.offline build/site
	@echo "docs: build/site/index.html"

audit: install ## look every installed package up in the advisory databases; needs the network
	@$(PY) -m pip install --quiet --root-user-action=ignore -c constraints.txt -e '.[audit]'
	@$(PY) -m pip_audit --skip-editable --strict

bench-packages: ## print the Debian packages `make bench` needs
	@echo $(BENCH_PACKAGES)

bench: install ## the measurements of benchmarks/, then their report; says which Debian packages are missing
	@missing=; $(foreach package,$(BENCH_PACKAGES), \
	  PATH="$$PATH:/usr/sbin:/usr/local/sbin:/sbin" command -v $(PROGRAM_OF_$(package)) >/dev/null || missing="$$missing $(package)"; ) \
	if [ -n "$$missing" ]; then \
	  echo "bench: missing:$$missing. Install with: apt-get install --no-install-recommends$$missing" >&2; exit 1; fi
	@command -v node >/dev/null && command -v npm >/dev/null || { echo "bench: missing: Node 20 with npm" >&2; exit 1; }
	@$(PY) -m pip install --quiet --root-user-action=ignore -c constraints.txt -e '.[bench]'
	@$(PY) -m benchmarks

clean: ## remove what the targets above made, .venv included; data folders stay
	@rm -rf .venv tests/sdk/node_modules benchmarks/peers/node_modules build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage htmlcov
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
