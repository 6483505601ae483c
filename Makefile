# make check is what CI runs; it sets up .venv by itself.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: check format lint types test frameworks compatibility fuzz golden help

check: format lint types test  ## the four that need no framework

.venv/.dev: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

format: .venv/.dev  ## is the formatting ruff's?
	$(BIN)/ruff format --check .

lint: .venv/.dev  ## ruff, every rule but those pyproject.toml gives a reason against
	$(BIN)/ruff check .

types: .venv/.dev  ## mypy --strict
	$(BIN)/mypy

test: .venv/.dev  ## the tests
	$(BIN)/python -m pytest

.venv-frameworks/.done: pyproject.toml
	$(PYTHON) -m venv .venv-frameworks
	.venv-frameworks/bin/pip install --quiet torch==2.13.0 tensorflow-cpu==2.21.0 jax==0.10.2 optax==0.2.8 \
		scipy==1.17.1 scikit-learn==1.9.1 onnx==1.23.2 onnxruntime==1.32.0 --editable '.[test]'
	touch $@

frameworks: .venv-frameworks/.done  ## the tests that need real frameworks
	.venv-frameworks/bin/python -m pytest -m frameworks

compatibility: .venv-frameworks/.done  ## rewrite docs/compatibility.md; put the day into its test first
	UPDATE_GOLDEN=1 .venv-frameworks/bin/python -m pytest --quiet -m frameworks tests/test_compatibility.py

fuzz: .venv/.dev  ## 20,000 broken case files, none of which may end in a traceback
	$(BIN)/python tests/fuzz.py

golden: .venv/.dev  ## rewrite tests/golden, console blocks and the index; read the difference before you commit it
	UPDATE_GOLDEN=1 $(BIN)/python -m pytest --quiet tests/test_show.py tests/test_explain.py tests/test_index.py tests/test_docs.py

help:  ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/'
