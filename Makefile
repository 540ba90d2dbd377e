# make demo   install, and tag the example clips with the bundled model
# make test   install with the test dependencies, and run the default test suite
# make check  lint, format, types
# make slow   the tests that train models (minutes)

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# On Linux, PyPI's torch carries gigabytes of CUDA. PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu in the
# environment offers pip the CPU build too, and PIP_FIND_LINKS=DIR a folder of wheels.
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo test slow check clean

demo: $(VENV)/.installed
	$(BIN)/spectag tag examples

test: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

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
