# Everything happens in .venv; nothing outside this directory is touched. `make run` is the main job.
PYTHON ?= python3
WORKERS ?= 2
VENV = .venv
BIN = $(VENV)/bin
STAMP = $(VENV)/.installed

.PHONY: help run test check lint format types shell docs wheel demo bench proof clean

help:
	@printf '%s\n' \
	  'make run    set up .venv and run the project'\''s own workflow (steps/)' \
	  'make test   set up .venv and run the tests' \
	  'make check  what CI runs: lint, types, shell, docs, wheel, tests' \
	  'make demo   ten seconds: a run, a kill -9, a resume' \
	  'make bench  cost per step, of a resume, of a start, beside other tools' \
	  'make proof  the long forms of the proofs (many minutes)' \
	  'make clean  remove .venv, build/ and caches (checkpoints stay)'

# The stamp is written last, so a set-up that was cut off is done again.
$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 10) else "Python 3.10 or newer is needed; try make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,check]'
	@touch $(STAMP)

run: $(STAMP)
	$(BIN)/workflow run $(ARGS)

test: $(STAMP)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup $(ARGS)

# Quick ones first; the tests last, so that their closing line ends the output.
check: lint types shell docs wheel
	@$(MAKE) --no-print-directory test

lint: $(STAMP)
	sh steps/step_08_lint.sh

format: $(STAMP)
	$(BIN)/ruff format .

types: $(STAMP)
	sh steps/step_09_types.sh

shell: $(STAMP)
	sh steps/step_02_shell_validation.sh

docs: $(STAMP)
	sh steps/step_01_documentation.sh
	sh steps/step_11_conformance.sh

wheel: $(STAMP)
	sh steps/step_10_build.sh

demo: $(STAMP)
	PATH="$(CURDIR)/$(BIN):$$PATH" sh examples/demo.sh

bench: $(STAMP)
	$(BIN)/python benchmarks/bench.py $(ARGS)

# One process: these proofs count system calls and kill by time, and want the machine to themselves.
proof: $(STAMP)
	PROOF=long $(BIN)/python -m pytest -m proof --timeout=3600 $(ARGS)

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
