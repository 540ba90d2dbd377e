# make demo   install, and tag the example clips with the bundled model
# make test   install with the test dependencies, and run the default test suite
# make check  lint, format, types
# make slow   the tests that train models (minutes)

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The CPU build of torch suffices and is a tenth of the size of the CUDA one; pip takes it from PyTorch's own index
# where the constraint cannot be met otherwise.
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo test slow check clean

demo: $(VENV)/.installed
	$(BIN)/spectag tag examples

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest

slow: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m slow

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) install --constraint constraints.txt --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) install --constraint constraints.txt --editable '.[dev]'
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) dist build
