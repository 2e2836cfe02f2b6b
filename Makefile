PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test lint install clean

run: install
	$(BIN)/evolve run problems/smtt

test: install
	$(BIN)/pytest -n 2

lint: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

install: .venv/installed

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv
