# The commands for a checkout; `make` alone lists them.
# Works with GNU Make 3.81, which macOS has. All paths are relative, so the folder's name may hold spaces.

.DEFAULT_GOAL := help
.PHONY: help setup chat test test-full lint format clean

ifeq ($(OS),Windows_NT)
PYTHON ?= python
BIN := .venv/Scripts
else
PYTHON ?= python3
BIN := .venv/bin
endif
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
NEW_PIP := import pip, sys; sys.exit([int(n) for n in pip.__version__.split(".")[:2]] < [25, 1])

# A virtual environment does not survive a move of its folder or the end of its Python: then it is made again.
STALE := $(shell [ -x $(BIN)/python ] || echo yes; \
	[ ! -e .venv/.ready ] || [ "$$(cat .venv/.ready)" = "$$(pwd -P)" ] || echo yes)

help:
	@echo "make setup      get ready to run: .venv, llama.cpp for this machine (once, 2-3 minutes), phi4local"
	@echo "make chat       talk to a model; MODEL=phi-4 chooses another one"
	@echo "make test       format, lint, types, imports and tests, as the CI runs them"
	@echo "make test-full  the same with the full counts of every test"
	@echo "make lint       format, lint, types and imports only"
	@echo "make format     write the code in the project's format"
	@echo "make clean      remove .venv and what tools left; models and compiled wheels stay"
	@echo "PYTHON=python3.13 chooses the Python, CMAKE_ARGS=-DGGML_CUDA=on (or VULKAN) builds for a GPU"

# The second line is quick when nothing changed, and sees new CMAKE_ARGS when something did.
setup: .venv/.ready
	@$(BIN)/python phi4local/native/build.py --python $(BIN)/python
	@echo "ready: try \`make chat\`" >&2

# stdin and stdout belong to the conversation: set-up reads nothing and writes to stderr.
chat: .venv/.ready
	@$(BIN)/phi4local chat $(if $(MODEL),"$(MODEL)")

# Neighbours share fixtures, so a process gets tests in a row, and takes from the other one when it has none left.
PYTEST := $(BIN)/pytest --numprocesses 2 --dist worksteal

test: lint
	$(PYTEST)

test-full: lint
	$(PYTEST) --full

lint: .venv/.ready-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/.ready-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.ready: pyproject.toml phi4local/native/build.py phi4local/native/build.cmake phi4local/native/build.toml
	@set -e; exec >&2 </dev/null; \
	if [ -n "$(STALE)" ] || ! { $(BIN)/python -c '$(NEW_ENOUGH)' && \
	    { $(BIN)/python -m pip --version || $(BIN)/python -m ensurepip; }; } >/dev/null 2>&1; then \
	    "$(PYTHON)" -c '$(NEW_ENOUGH)' 2>/dev/null || { \
	        echo "error: phi4local needs Python 3.11 or newer; $(PYTHON) is $$("$(PYTHON)" --version 2>/dev/null || echo missing)"; \
	        echo "hint: install one, then run: make setup PYTHON=/path/to/python3"; exit 1; }; \
	    echo "making .venv"; "$(PYTHON)" -m venv --clear .venv; \
	fi; \
	$(BIN)/python phi4local/native/build.py --python $(BIN)/python; \
	echo "installing phi4local and its libraries into .venv"; \
	$(PIP) install --editable '.[convert]' || $(PIP) install --editable .; \
	pwd -P > .venv/.ready

ifneq ($(STALE),)
.PHONY: .venv/.ready
endif

.venv/.ready-dev: .venv/.ready
	@set -e; exec >&2 </dev/null; echo "installing the tools for tests into .venv"; \
	$(BIN)/python -c '$(NEW_PIP)' || $(PIP) install --upgrade "pip>=25.1"; \
	$(PIP) install --group dev; \
	touch .venv/.ready-dev
