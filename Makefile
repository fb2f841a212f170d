# Two commands do all set-up: `make demo` runs the main job, `make test` runs the tests.
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-install fuzz lint bench face-models clean

demo: $(READY)
	-$(BIN)/mfs-edge face-models  # where they cannot be fetched, the demo says how it does without them
	$(BIN)/mfs-edge demo demo

face-models: $(READY)  # fetches nothing if they are in the user's cache
	$(BIN)/mfs-edge face-models

test: face-models
	$(BIN)/python -m pytest -q -n 2 --dist worksteal  # a file's tests stay together, and share what they build

test-install: $(READY)  # a part of `make test`
	$(BIN)/python -m pytest -q -n 2 -m install

EXAMPLES ?= 100000
SECONDS_OF_C ?= 600
fuzz: $(READY)  # for some thirty minutes, with other edits each time; the same minute of them is a part of `make test`
	$(BIN)/python -m tests.fuzz --examples $(EXAMPLES)
	$(BIN)/python -m tests.fuzz.native --seconds $(SECONDS_OF_C)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)
	$(BIN)/python benchmarks/compile_time.py
	$(BIN)/python benchmarks/passes.py
	$(BIN)/python benchmarks/peers.py all --only onnx --only openvino --only coreml

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

clean:
	rm -rf $(VENV) build demo
