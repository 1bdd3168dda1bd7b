# make demo       make .venv, install geoseg, run the embedded scene into ./demo
# make test       the checks CI runs: ruff, mypy, import rules, quick tests
# make test-full  the same with the long tests
# make clean      remove .venv and what the targets above left

PYTHON ?= python3
VENV ?= .venv
PIP_INSTALL = $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test test-full clean

demo: $(VENV)/.installed
	$(VENV)/bin/geoseg demo demo --overwrite
	@echo "The results are in $(CURDIR)/demo"

test: $(VENV)/.installed-test
	PYTHON=$(VENV)/bin/python scripts/check

test-full: $(VENV)/.installed-test
	PYTHON=$(VENV)/bin/python scripts/check --full

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'geoseg needs Python 3.11 or newer: make PYTHON=python3.12 ...' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The install is editable: only a change of dependencies or entry points needs a new one.
$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(PIP_INSTALL) --editable .
	@touch $@

$(VENV)/.installed-test: pyproject.toml | $(VENV)/bin/python
	$(PIP_INSTALL) --editable '.[test]'
	@touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) demo dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
