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

bench: setup
	$(BIN)/python -m benchmarks $(ARGS)

# SECONDS for each target; exits non-zero on a finding and keeps its input under out/fuzz.
fuzz: SECONDS := 600
fuzz: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r locks/fuzz.txt
	$(BIN)/python -m fuzz --seconds $(SECONDS) $(ARGS)

# The same questions beside other servers: PEERS is a folder with a virtual environment for each, and the models.
# Those that are missing are named and left out. Needs wrk.
bench-peers: setup
	$(BIN)/python -m benchmarks maximum -- --peers $(PEERS) --sides trivet trivet-binary mosec-1ms mosec-2ms mosec-5ms sketch-v2
	$(BIN)/python -m benchmarks latency -- --peers $(PEERS) --rate 1000 --sides trivet granian-null
	$(BIN)/python -m benchmarks maximum -- --peers $(PEERS) --model text --seconds 4 --sides trivet mosec-2ms triton granian-batch
	$(BIN)/python -m benchmarks latency -- --peers $(PEERS) --model text --rate 50 --seconds 8 --sides trivet granian
	$(BIN)/python -m benchmarks latency -- --peers $(PEERS) --model text --rate 150 --seconds 8 --sides trivet mosec-2ms triton granian-batch

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

# Resolve the lock anew (needs uv; the only command that does).
lock:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
	    --extra rows --extra otel --extra demo --group dev pyproject.toml -o locks/dev.txt
