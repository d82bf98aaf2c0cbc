# One word for each thing that a laptop and the continuous integration both do. `make demo` and `make test` work on a clean clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready

# Optional data beside the checkout: tests that use it skip with a reason where it is not.
SHARED := $(wildcard ../shared)
ifneq ($(SHARED),)
export VIDRASE_MODEL_DIR ?= $(abspath $(SHARED)/models)
export VIDRASE_DATA ?= $(abspath $(SHARED))
endif

.PHONY: setup check fix test test-all bench demo hooks clean

setup: $(STAMP)

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] else "vidrase needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; try: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable . --group dev
	@touch $@

check: $(STAMP)
	$(BIN)/ruff format --check vidrase tests benchmarks samples
	$(BIN)/ruff check vidrase tests benchmarks samples
	$(BIN)/mypy
	$(BIN)/python -m pytest --quiet tests/test_architecture.py

fix: $(STAMP)
	$(BIN)/ruff format vidrase tests benchmarks samples
	$(BIN)/ruff check --fix vidrase tests benchmarks samples

test: $(STAMP)
	$(BIN)/python -m pytest -n auto --dist loadfile --durations=10

test-all: $(STAMP)
	$(BIN)/python -m pytest -n auto --dist loadfile --slow --durations=10

bench: $(STAMP)
	$(BIN)/python -m pip install --quiet --editable .[bench]
	$(BIN)/vidrase bench --quick --output benchmarks/results

demo: $(STAMP)
	@mkdir -p demo
	$(BIN)/vidrase samples/walk.mp4 --remove person --output demo/walk_erased.mp4 --preview demo/sheet.png --overwrite
	@echo "result: demo/walk_erased.mp4   before / mask / after: demo/sheet.png"

# Optional: the hooks run `make fix` and `make check` before a commit (.pre-commit-config.yaml).
hooks: $(STAMP)
	$(BIN)/python -m pip install --quiet "pre-commit>=4"
	$(BIN)/pre-commit install

clean:
	rm -rf $(VENV) demo build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
