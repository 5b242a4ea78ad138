# The commands of this project; each creates what it needs. Python 3.11+, make and a compiler are enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: setup demo test test-slow check format bench bench-peers fuzz lock clean
.DEFAULT_GOAL := test

setup: $(VENV)/.ready

# One lock with hashes for every supported Python; the project itself is installed without resolving anything.
$(VENV)/.ready: locks/dev.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "trivet needs Python 3.11 or newer; set PYTHON=")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r locks/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

demo: setup
	$(BIN)/python -m demo

test: setup
	$(BIN)/python -m pytest $(ARGS)

test-slow: setup
	$(BIN)/python -m pytest -m slow $(ARGS)

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# All of the server's questions for trivet alone, then docs/benchmarks/server.md; ARGS chooses others, or options:
# `make bench ARGS="everything -- --blocks 2"` is a quick look, `make bench ARGS=--list` names them. Needs wrk.
bench: ARGS := everything
bench: setup
	$(BIN)/python -m benchmarks $(ARGS)

# SECONDS for each target; exits non-zero on a finding and keeps its input under out/fuzz.
fuzz: SECONDS := 600
fuzz: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r locks/fuzz.txt
	$(BIN)/python -m fuzz --seconds $(SECONDS) $(ARGS)

# The same questions beside other servers: PEERS is a folder with a virtual environment for each, and the models.
# Those that are missing are named and left out. OPTIONS="--resume" goes on where an earlier run was stopped.
bench-peers: setup
	$(BIN)/python -m benchmarks._peer_packages $(PEERS)
	$(BIN)/python -m benchmarks everything -- --peers $(PEERS) $(OPTIONS)

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

# Resolve the lock anew (needs uv; the only command that does).
lock:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
	    --extra rows --extra otel --extra demo --extra bench --extra postgres --extra mlflow --extra variants --extra tune --extra lightgbm --extra redis \
	    --extra semantic --extra remote \
	    --group dev pyproject.toml -o locks/dev.txt
