# Everything here runs inside .venv; nothing is installed outside this folder.

PYTHON ?= python3
JOBS ?= 2
# a worker per core: more threads in each only wait for each other
ONE_THREAD := OMP_NUM_THREADS=1
VENV := .venv
# Always $(BIN)/python -m: the scripts beside it name their folder, which may hold spaces or have been moved.
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Pinned and installed first: an open range may bring several GB of accelerator packages.
TORCH := $(shell grep '^torch==' constraints.txt)

# More sentences of your own: make demo SENTENCES='"the first one" "the second one"'
SENTENCES ?=

.PHONY: help setup setup-train setup-peers check-tools demo test test-all lint format clean
.DEFAULT_GOAL := help

help:
	@echo "make demo      sentences through the simulated accelerator, compared with the golden model"
	@echo "make test      linters, type checker and every test that is not marked slow"
	@echo "make test-all  the slow tests too"
	@echo "make lint      linters and type checker only"
	@echo "make setup     create $(VENV) only (the other targets do it when needed)"
	@echo "make setup-train  adds the packages that training from MiniLM needs"
	@echo "make setup-peers  adds the quantisers that elbert study peers compares with"
	@echo "make clean     remove build outputs; $(VENV) stays"

check-tools:
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) not found; name another with PYTHON=..." >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "error: Python 3.11 or newer is needed, $(PYTHON) is $$($(PYTHON) -V 2>&1); name another with PYTHON=..." >&2; exit 2; }
	@for tool in g++ make perl; do command -v $$tool >/dev/null \
		|| { echo "error: $$tool not found; Verilator compiles its models with g++, make and perl" >&2; exit 2; }; done

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt | check-tools
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo "error: $(PYTHON) has no venv module (on Debian: python3-venv)" >&2; exit 2; }
	@echo "setting up $(VENV): a few minutes, mostly downloads"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

setup-train: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,train]'

setup-peers: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,peers]'

demo: $(STAMP)
	$(BIN)/python -m elbert run --backend rtl --examples --json runs/demo.json -- $(value SENTENCES)

lint: $(STAMP)
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/python -c 'from importlinter.cli import lint_imports_command; lint_imports_command()' --no-cache

# worksteal: neighbours stay on one worker with what they share, and the workers end together
test: lint
	$(ONE_THREAD) $(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "not slow" --durations=20

test-all: lint
	$(ONE_THREAD) $(BIN)/python -m pytest -n $(JOBS) --dist worksteal

format: $(STAMP)
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .

clean:
	rm -rf build runs .pytest_cache .mypy_cache .ruff_cache .hypothesis
