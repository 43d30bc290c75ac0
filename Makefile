# make run   the lessons, from nothing to a results table       make help   everything else
#
# Variables: PROFILE=smoke|cpu|full|auto  NB="00 04"  TIME=10m  ARGS="-p lora_r 8"  VENV=folder  PY=python3.12  PYTEST="-k name"
#            BENCH="classification peak"

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help venv assets run test pythons platforms lint bench doctor results lab format clean

PROFILE ?= cpu
NB ?= 00 01 02 03
TIME ?= 10m
ARGS ?=
PYTEST ?=
VENV ?= .venv
# The first Python of the tested versions; PY=... overrides.
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PY ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	if $$p -c '$(SUPPORTED)' 2>/dev/null; then echo $$p; break; fi; done)
# Absolute, so that recipes may change folder.
PYTHON = $(abspath $(VENV))/bin/python
export PIP_DISABLE_PIP_VERSION_CHECK := 1

help: ## show this list
	@echo "peft-lab: make TARGET [PROFILE=smoke|cpu|full|auto] [NB=\"00 04\"] [TIME=10m] [ARGS=\"-p lora_r 8\"]"
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 12 | sed 's/^/  /'

# Installs again only when a requirement changed. --no-compile: Python compiles what it imports anyway.
$(VENV)/.ready: requirements.txt constraints.txt
	@test -n "$(PY)" || { echo "Python 3.11, 3.12 or 3.13 is needed: install one, or name it with PY=..." >&2; exit 1; }
	@$(PY) -c '$(SUPPORTED)' || { echo "$(PY) is not Python 3.11, 3.12 or 3.13: name another with PY=..." >&2; exit 1; }
	@test -x $(PYTHON) || $(PY) -m venv $(VENV)
	@echo "installing into $(VENV), once (1 to 4 minutes) ..."
	@$(PYTHON) -m pip install -qq --no-compile -r requirements.txt -c constraints.txt
	@touch $@

venv: $(VENV)/.ready ## virtual environment with the exact packages of constraints.txt
	@:

assets: venv ## fetch the real model and data once (180 MB), check them
	@$(PYTHON) -m helpers assets

run: venv ## run lessons $(NB) headless in PROFILE (default cpu) within TIME, then print a results table
	@$(if $(filter smoke,$(PROFILE)),true,$(PYTHON) -m helpers assets$(if $(filter auto,$(PROFILE)), || true))
	@$(PYTHON) -m helpers run $(NB) --profile $(PROFILE)$(if $(filter cpu,$(PROFILE)), --time $(TIME)) $(ARGS)

lint: venv ## style, types, layers
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m mypy
	@$(abspath $(VENV))/bin/lint-imports

test: lint ## everything: style, types, layers, tests, all notebooks in profile smoke
	@$(PYTHON) -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(PYTEST)

pythons: ## lessons 00, 03 and 04 in smoke on each of Python 3.11, 3.12, 3.13 that is installed
	@for version in 3.11 3.12 3.13; do command -v python$$version >/dev/null || continue; echo "== Python $$version"; \
		$(MAKE) --no-print-directory run NB="00 03 04" PROFILE=smoke VENV=build/python$$version PY=python$$version \
		ARGS="-o build/outputs$$version" || exit 1; done

platforms: venv ## the same with the packages of Colab's and Kaggle's images, and with the oldest allowed (gigabytes)
	@for image in colab kaggle oldest; do echo "== $$image"; $(PYTHON) tests/platforms/session.py $$image || exit 1; done

bench: venv ## measure speed and memory against peers: BENCH="classification …" (default all), ARGS="--repeats 5 --keep"
	@for name in $(or $(BENCH),$$($(PYTHON) -m helpers bench | cut -d" " -f1)); do echo "== $$name"; \
		$(PYTHON) -m helpers bench $$name $(ARGS) || exit 1; done

doctor: venv ## what machine is this, what is wrong with it
	@$(PYTHON) -m helpers doctor

results: venv ## table of all runs so far
	@$(PYTHON) -m helpers results

lab: venv ## open the notebooks in JupyterLab
	@$(PYTHON) -m jupyter lab notebooks

format: venv ## rewrite the code in the agreed style
	@$(PYTHON) -m ruff check --fix .
	@$(PYTHON) -m ruff format .

clean: ## remove .venv and caches; results under outputs/ stay
	@rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
