# `make demo` and `make test` are all a newcomer needs: each makes .venv and installs what is missing first.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: demo test lint format install clean

demo: install
	$(BIN)/espeer demo

test: install
	$(BIN)/pytest

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt scripts/install.py
	$(PYTHON) scripts/install.py

clean:
	rm -rf .venv
