# `make demo` and `make test` set everything up themselves; they need Python 3.10 or later, make and pip's index.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test test-modern test-slow benchmark clean

# The first interpreter that runs and is late enough; `make PYTHON=/path/to/python demo` overrides. On 3.12 and later all
# is there but RecBole, which does not install. MODERN is the latest, for the environment without it.
first = $(shell for p in $(1); do "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null \
	&& { echo "$$p"; break; }; done)
PYTHON ?= $(call first,python3.11 python3.10 python3 python)
MODERN ?= $(call first,python3.14 python3.13 python3.12 python3.11 python3)
PY := .venv/bin/python

# What is installed is stamped with the hash of what was asked for, so a second call installs nothing.
HASH := $(shell cat pyproject.toml constraints.txt | cksum | cut -d' ' -f1)
# Python compiles a module when it is first imported, and keeps that; to compile all that is installed takes minutes.
unexport PYTHONDONTWRITEBYTECODE
INSTALL := pip install --quiet --disable-pip-version-check --no-compile
FOR_MODERN := .venv-modern/.installed-$(HASH)
FOR_TESTS := .venv/.installed-$(HASH)-test
# The test extra holds all that the demo needs.
FOR_DEMO := $(if $(wildcard $(FOR_TESTS)),$(FOR_TESTS),.venv/.installed-$(HASH)-offline)

# Two workers on two cores, each file on one of them: what a file trains is trained once, and in order. More threads only
# get in each other's way. No test may ask a model hub.
WORKERS ?= 2
ALONE := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 HF_HUB_OFFLINE=1
TEST := $(ALONE) $(PY) -m pytest

help:
	@echo "make demo       install, then on the simulated shop: RAGAR's assumptions, its pictures, a page and a gallery"
	@echo "make test       install, then linter, types and the test suite (minutes)"
	@echo "make test-slow  the tests that take longer"
	@echo "make test-modern  the test suite without RecBole, on numpy 2 and pandas 3, in .venv-modern"
	@echo "make benchmark  time and memory by catalogue size"
	@echo "make clean      remove the environments and caches; runs/ stays"

# RAGAR with a third of its training, which no measure tells from the whole (docs/results/pictures.md).
RAGAR := ragar=ragar:warm_start=700,steps=60

demo: $(FOR_DEMO)
	$(PY) -m recsim_gen.validate_assumptions --data boutique --output runs/validate_assumptions
	$(PY) -m recsim_gen.aux_rec --gen $(RAGAR) ragar_taste --data boutique --items 300 --each 1 --output runs/aux_rec
	$(PY) -m recsim_gen.show --gen sd,$(RAGAR),ragar_taste,oracle_sd --data boutique --output runs/show
	$(PY) -m recsim_gen.report --tracking-uri sqlite:///runs/mlflow.db --output runs/report.html

test: $(FOR_TESTS)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(TEST) -n $(WORKERS) --dist loadfile -m "not slow and not benchmark"

test-slow: $(FOR_TESTS)
	$(TEST) -m slow

test-modern: $(FOR_MODERN)
	$(ALONE) .venv-modern/bin/python -m pytest -n $(WORKERS) --dist loadfile -m "not slow and not benchmark"

benchmark: $(FOR_TESTS)
	$(TEST) -s -m benchmark

clean:
	rm -rf .venv .venv-modern build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.installed-$(HASH)-%: | $(PY)
	@echo "Installing recsim-gen[$*] into .venv; torch makes this minutes the first time."
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PY) -m ensurepip  # where making .venv was interrupted
	$(PY) -m $(INSTALL) -c constraints.txt -e ".[$*,recbole]"
	@touch $@

# All of constraints.txt but RecBole and what it holds back.
$(FOR_MODERN):
	@echo "Installing recsim-gen[test] without RecBole into .venv-modern, on $(MODERN)."
	@"$(MODERN)" -m venv .venv-modern
	@grep -vE '^(recbole|numpy|pandas|scipy|setuptools)==' constraints.txt >.venv-modern/constraints.txt
	.venv-modern/bin/python -m $(INSTALL) -c .venv-modern/constraints.txt -e ".[test]" "numpy>=2"
	@touch $@

$(PY):
	@test -n "$(PYTHON)" || { \
	echo "recsim-gen needs Python 3.10 or later, none found on PATH." >&2; \
	echo "Install it, or name it: make PYTHON=/path/to/python3.11 demo" >&2; exit 1; }
	@"$(PYTHON)" -m venv .venv || { rm -rf .venv; \
	echo "$(PYTHON) could not make .venv: is its venv module installed (Debian: python3-venv)?" >&2; exit 1; }
