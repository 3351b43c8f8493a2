# make         makes the environment and trains five networks on digits (the main job)
# make test    makes the environment and passes the tests
# make check   linter, formatter and type checker

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: train test check clean

train: $(VENV)/made
	$(BIN)/python -m experiments.train --seeds 5

test: $(VENV)/made
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: $(VENV)/made
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/made: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@

clean:
	rm -rf $(VENV)
