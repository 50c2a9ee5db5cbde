# `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help venv test lint lit pytest docs demo peers gpu-check clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' || \
	  { echo "$(PYTHON) is $$($(PYTHON) --version 2>&1); 3.10 to 3.13 is needed (make PYTHON=python3.11)" >&2; exit 1; }
	@echo "Setting up $(VENV): PyTorch, torch-mlir, IREE and the tools; some minutes the first time"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check torch==2.13.0
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

venv: $(STAMP) ## make .venv with everything for development

lint: venv ## ruff check, ruff format --check, pyright
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

lit: venv ## pass tests (lit and FileCheck)
	$(BIN)/lit -q test

pytest: venv ## Python tests
	$(BIN)/pytest -n auto

test: lint lit pytest ## all tests

demo: venv ## ResNet18 with every dense recipe, checked against PyTorch and timed; then a small study and its report
	$(BIN)/dlas bench resnet18 --preset host/stock host/direct host/gemm host/spatial-pack host/auto --threads 1
	$(BIN)/dlas study run demo
	$(BIN)/dlas study report study-demo

docs: venv ## write the generated pages again
	$(BIN)/dlas-opt --list-passes=markdown > docs/passes.md

peers: venv ## add the runtimes that benchmarks/ compares with
	$(BIN)/pip install --quiet --editable '.[peers]'

gpu-check: venv ## compile what a machine with a GPU checks and times, without one: a folder to carry there
	$(BIN)/python -m benchmarks.gpu build build/gpu-check

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) .pytest_cache .ruff_cache build *.egg-info
