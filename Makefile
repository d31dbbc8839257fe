# Everything runs in .venv, made from requirements.lock. A newer Python: make PYTHON=python3.12 ...
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
RUN ?= runs/quickstart
CATALOG = $$($(BIN)/python -m m5jax.data.embedded_catalog)

.PHONY: help install quickstart notebooks test lint format lock

help: ## show the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: .venv/installed ## make .venv with locked dependencies and m5jax itself

.venv/installed: requirements.lock setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "m5jax needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	$(PIP) --no-deps --requirement requirements.lock
	$(PIP) --no-deps --editable .
	@touch $@

# Large pages: a fifth less time a step on CPU (docs/training.md).
quickstart: export GLIBC_TUNABLES = glibc.malloc.hugetlb=1
quickstart: install ## train, evaluate and query a small encoder on the embedded catalog
	$(BIN)/m5jax train --gin_file=gin_configs/experiments/quickstart.gin --gin.RUN_DIR="'$(RUN)'"
	@test -e $(RUN)/evaluations/held_out || $(BIN)/m5jax evaluate --run=$(RUN)
	@test -e $(RUN)/embeddings.parquet || $(BIN)/m5jax embed --run=$(RUN) --input=$(CATALOG)/products.jsonl --output=$(RUN)/embeddings.parquet
	$(BIN)/m5jax search --run=$(RUN) --embeddings=$(RUN)/embeddings.parquet --query="wireless noise cancelling headphones" --top=5

notebooks: install ## run the notebooks whole and in place (hours; M5JAX_DATA is the folder of their data)
	$(BIN)/jupyter execute --inplace notebooks/*.ipynb

test: install ## run the whole test suite
	$(BIN)/python -m pytest -n auto --dist loadfile

lint: install ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install ## put the code into its standard form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: install ## resolve requirements.lock anew from setup.py
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra dev --upgrade --custom-compile-command "make lock" --output-file requirements.lock setup.py
