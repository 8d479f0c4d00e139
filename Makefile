# Each command sets up the virtual environment it needs, and repeats that only after a change of
# the files in SOURCES, so every one of them works as the first command on a fresh machine.
VENV ?= .venv
BIN := $(VENV)/bin
SOURCES := setup.cfg setup.py pyproject.toml embedfreeze/_kernel.c embedfreeze/_checksum.h \
	embedfreeze/_decimal.h embedfreeze/_guard.h embedfreeze/_subwords.h

# The first Python that can make an environment and compile the kernel. Each is asked rather than
# looked for, because the name may stand for a version manager that has no such version.
SUITS := import ensurepip, os, sys, sysconfig, venv; \
	sys.exit(sys.version_info < (3, 11) or not os.path.exists(sysconfig.get_path("include") + "/Python.h"))
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3; do \
	$$python -c '$(SUITS)' 2>/dev/null && echo $$python && break; done)

# What `make test` leaves out: tests that take long or write gigabytes. `make test SELECT=slow`.
SELECT ?= not slow and not large and not exhaustive and not fuzz
# Files of tests run side by side. `make test SELECT=large JOBS=0` one after the other.
JOBS ?= 2

# Two installations into one environment would get in each other's way.
.NOTPARALLEL:
# An environment that could not be completed is made again.
.DELETE_ON_ERROR:

.PHONY: install check test docs bench demo clean

install: $(VENV)/installed-test $(VENV)/installed-dev

check: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

test: $(VENV)/installed-test
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile -m "$(SELECT)" $(PYTEST_ARGS)

# Every warning is an error: links and anchors that lead nowhere, names that do not exist.
docs: $(VENV)/installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict $(DOCS_ARGS)

bench: $(VENV)/installed-bench
	$(BIN)/python benchmarks/run.py $(BENCH_ARGS)

demo: $(VENV)/installed
	$(BIN)/embedfreeze demo

clean:
	rm -rf $(VENV) build dist site *.egg-info embedfreeze/*.so

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo >&2 "embedfreeze needs Python 3.11 or later with its venv module \
	and C header files (Debian and Ubuntu: apt install python3-venv python3-dev). None of \
	python3.13, python3.12, python3.11, python3 has them: name one with make PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(SOURCES) | $(BIN)/python
	@echo "Installing embedfreeze with TensorFlow into $(VENV); the first time takes minutes."
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/installed-%: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable '.[$*]'
	@touch $@

$(VENV)/installed-bench: benchmarks/requirements.txt $(VENV)/installed
	$(BIN)/python -m pip install --quiet --requirement benchmarks/requirements.txt
	@touch $@
