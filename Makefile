# `make run`: Meanwhile with its demo on http://127.0.0.1:8000, from nothing but Python 3.11 and make.
PORT ?= 8000
PYTHON ?=

VENV := .venv
BIN := $(VENV)/bin
# Stamps carry the requirements' checksum: the same content is never installed twice, whatever a checkout does to times.
INSTALLED := $(VENV)/.installed-$(shell cat requirements.txt | cksum | cut -d ' ' -f 1)
TESTABLE := $(VENV)/.testable-$(shell cat requirements.txt requirements-test.txt | cksum | cut -d ' ' -f 1)
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

.PHONY: help run test faults fuzz lint bench bench-publish bench-room bench-storm clean

help:
	@echo "make run     the server and its demo on http://127.0.0.1:8000 (another port: make run PORT=8001)"
	@echo "make test    all tests, on SQLite and, where they are installed, on PostgreSQL and Redis"
	@echo "make faults  hundreds of kill -9, broken networks and walks, on both engines (KILLS=1000 NETWORKS=300 WALKS=5000: more)"
	@echo "make fuzz    the frame decoder under atheris, for a minute (TIME=3600: longer)"
	@echo "make lint    ruff and mypy"
	@echo "make bench   how fast it is on this machine (also: bench-publish, bench-room, bench-storm)"
	@echo "make clean   removes $(VENV) and caches; your data in var/ stays"

run: $(INSTALLED)
	@MEANWHILE_DEMO=1 exec $(BIN)/python manage.py setup_demo 127.0.0.1:$(PORT) --serve

test: $(TESTABLE)
	@PYTHON=$(BIN)/python tests/run.sh

faults: $(TESTABLE)
	@KILLS=$(or $(KILLS),200) NETWORKS=$(or $(NETWORKS),100) WALKS=$(or $(WALKS),1000) PYTHON=$(BIN)/python \
	  tests/run.sh -s tests/faults tests/network

fuzz: $(TESTABLE)
	@$(PIP) atheris==3.0.0
	@$(BIN)/python -m tests.faults.fuzz_frames -max_total_time=$(or $(TIME),60)

lint: $(TESTABLE)
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

bench: $(TESTABLE)
	@$(BIN)/python -m benchmarks.throughput

bench-publish: $(TESTABLE)
	@$(BIN)/python -m benchmarks.publish

bench-room: $(TESTABLE)
	@$(BIN)/python -m benchmarks.room

bench-storm: $(TESTABLE)
	@$(BIN)/python -m benchmarks.storm

clean:
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis staticfiles
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@echo "Removed $(VENV) and caches. Your data in var/ stays."

$(BIN)/python:
	@for python in $(or $(PYTHON),python3.11 python3); do \
	  if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "Making a virtual environment in $(VENV) with $$($$python --version) ..."; \
	    $$python -m venv $(VENV) && exit 0; \
	    rm -rf $(VENV); \
	    echo "$$python cannot make virtual environments. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; \
	  fi; \
	done; \
	echo "Python 3.11 or newer is needed and was not found. If it is somewhere else: make run PYTHON=/path/to/python3.11" >&2; \
	exit 1

$(INSTALLED): | $(BIN)/python
	@echo "Installing what the server needs (once, about a minute) ..."
	@$(PIP) -r requirements.txt
	@rm -f $(VENV)/.installed-* && touch $@

$(TESTABLE): $(INSTALLED)
	@echo "Installing what the tests need (once) ..."
	@$(PIP) -r requirements-test.txt
	@rm -f $(VENV)/.testable-* && touch $@
