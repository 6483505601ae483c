# make check is what CI runs; it sets up .venv by itself.
PYTHON ?= python3
BIN := .venv/bin

# docs/compatibility.md and some tests tell what these versions do.
FRAMEWORKS := torch==2.13.0 tensorflow-cpu==2.21.0 jax==0.10.2 optax==0.2.8 scipy==1.17.1 scikit-learn==1.9.1 \
	onnx==1.23.2 onnxruntime==1.32.0 transformers==5.24.0 accelerate==1.15.0 lightning==2.6.6
# Kernels that run without a GPU, under Triton's interpreter. Not with what they depend on: torch stays as it is.
INTERPRETED := liger-kernel==0.8.5 triton==3.9.0
# Its loss needs nothing more; its trainers need half a gigabyte.
TRAINERS := trl==1.16.0
# Versions in which a loss of these became right or wrong, and what of an older version they need beside them.
OLDER := transformers-4.45.2 transformers-4.46.1 transformers-4.47.0 transformers-4.47.1 transformers-4.48.0 \
	transformers-4.48.1 tokenizers-0.20.3 tokenizers-0.21.4 huggingface_hub-0.36.2 \
	trl-0.15.2 trl-0.16.0 trl-1.4.0 trl-1.5.0

# The tests that write what they compare, when they are asked to.
GOLDEN := tests/test_show.py tests/test_compare.py tests/test_lookup.py tests/test_explain.py tests/test_identify.py tests/test_check_command.py tests/test_check_page.py \
	tests/test_identifiers.py tests/test_diagnose.py tests/test_schema.py tests/test_index.py tests/test_docs.py \
	tests/test_python_page.py tests/test_compatibility.py tests/test_accuracy.py tests/test_sweep_command.py

.PHONY: check format lint types test frameworks interpreted faults fast compatibility baselines pictures fuzz coverage mutants site site-check \
	golden upgrade help

check: format lint types test  ## the four that need no framework

.venv/.dev: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable '.[dev]' --constraint constraints.txt
	touch $@

format: .venv/.dev  ## is the formatting ruff's?
	$(BIN)/ruff format --check .

lint: .venv/.dev  ## ruff, every rule but those pyproject.toml gives a reason against
	$(BIN)/ruff check .

types: .venv/.dev  ## mypy --strict
	$(BIN)/mypy

test: .venv/.dev  ## the tests
	$(BIN)/python -m pytest

.venv-frameworks/.done: pyproject.toml constraints-frameworks.txt
	$(PYTHON) -m venv .venv-frameworks
	.venv-frameworks/bin/pip install --quiet $(FRAMEWORKS) --editable '.[test,fast]' --constraint constraints-frameworks.txt
	.venv-frameworks/bin/pip install --quiet --no-deps $(TRAINERS)
	$(MAKE) $(addprefix .venv-frameworks/older/,$(OLDER))
	touch $@

.venv-frameworks/older/%:  # each alone in a folder, which a test puts before the environment's own
	.venv-frameworks/bin/pip install --quiet --no-deps --no-compile --target $@ $(subst -,==,$*)

frameworks: .venv-frameworks/.done  ## the tests that need real frameworks
	.venv-frameworks/bin/python -m pytest -m "frameworks and not slow" -n 0

.venv-interpreted/.done: pyproject.toml constraints-frameworks.txt  # apart: Triton and TensorFlow bring an LLVM each
	$(PYTHON) -m venv .venv-interpreted
	.venv-interpreted/bin/pip install --quiet torch==2.13.0 --editable '.[test]' --constraint constraints-frameworks.txt
	.venv-interpreted/bin/pip install --quiet --no-deps $(INTERPRETED)
	touch $@

interpreted: .venv-interpreted/.done  ## the baseline of Liger and its loss on cases, in Triton's interpreter
	.venv-interpreted/bin/python -m pytest -m frameworks -n 0 tests/test_baselines.py tests/test_losses_of_trainers.py -k liger

faults: .venv-frameworks/.done  ## wrong and right losses by whole checks: is each found, is none accused? writes which check finds each (half an hour)
	cd tests && PYTHONPATH=. ../.venv-frameworks/bin/python faults.py
	.venv-frameworks/bin/python -m pytest -m slow tests/test_check_faults.py tests/test_check_styles.py

fast: .venv-frameworks/.done  ## the tests of large arrays, by the compiled kernels too
	.venv-frameworks/bin/python -m pytest -n 0 tests/test_bulk.py tests/test_bulk_accuracy.py tests/test_bulk_backends.py tests/test_fast_facts.py
	.venv-frameworks/bin/python -m pytest -n 0 tests/test_rules.py tests/test_diagnose.py tests/test_dumps.py

compatibility: .venv-frameworks/.done  ## put on record what the installed frameworks do, and rewrite docs/compatibility.md and docs/timeline.md
	.venv-frameworks/bin/python tests/records.py
	UPDATE_GOLDEN=1 .venv-frameworks/bin/python -m pytest --quiet -n 0 tests/test_compatibility.py

baselines: .venv-frameworks/.done .venv-interpreted/.done  ## bring results/baselines up to date with what the installed libraries fail; give what is new a reason
	.venv-frameworks/bin/python tests/baselines.py
	.venv-interpreted/bin/python tests/baselines.py liger.cross_entropy

pictures: .venv/.dev  ## rewrite README's picture
	$(BIN)/python docs/pictures.py

fuzz: .venv/.dev  ## 20,000 cases and 5,000 dumps, most of which load: does any end, last or take what it must not?
	$(BIN)/python tests/fuzz.py

.venv-atheris/.done: pyproject.toml constraints.txt
	python3.11 -m venv .venv-atheris
	.venv-atheris/bin/pip install --quiet atheris==3.0.0 --editable '.[test]' --constraint constraints.txt
	touch $@

coverage: .venv-atheris/.done  ## five minutes of random bytes for each reader, kept where they reach new code
	for reader in case npy npz safetensors; do .venv-atheris/bin/python tests/coverage_guided.py $$reader || exit; done

mutants: .venv/.dev  ## 300 small faults in the code: which of them does no test notice? (half an hour)
	$(BIN)/python tests/mutants.py

.venv-site/.done: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-site
	.venv-site/bin/pip install --quiet --editable '.[docs]' --constraint constraints.txt
	touch $@

site: .venv-site/.done  ## the documentation, in docs/_build/site; every warning is an error
	.venv-site/bin/sphinx-build --quiet --fail-on-warning --keep-going --nitpicky --fresh-env docs docs/_build/site

site-check: site  ## the site, and reports, in the system's Chromium; npm fetches axe-core
	.venv-site/bin/pip install --quiet --editable '.[test-site]' --constraint constraints.txt
	npm install --silent --no-save --prefix .site axe-core@4.14.1
	.venv-site/bin/python -m pytest -n 0 -m "site or slow" tests/test_site_pages.py tests/test_site.py tests/test_html_browser.py

golden: .venv/.dev  ## rewrite all that is generated and tests/golden; read the difference before you commit it
	UPDATE_GOLDEN=1 $(BIN)/python -m pytest --quiet -n 0 -m "slow or not slow" $(GOLDEN)

# $(call resolve,FILE,ENVIRONMENT,REQUIREMENTS): the oldest Python resolves, so that the versions suit all.
# A build's own mark, as in 2.13.0+cpu, is left out.
define resolve
	rm -rf .venv-upgrade
	python3.11 -m venv .venv-upgrade
	.venv-upgrade/bin/pip install --quiet --upgrade pip
	.venv-upgrade/bin/pip install --quiet $(3)
	echo "# Versions for $(2), as pip resolves them in a fresh environment. .ci/run passes the tests on them." > $(1)
	echo "# 'make upgrade' rewrites this file." >> $(1)
	.venv-upgrade/bin/pip freeze --exclude xent | sed 's/+.*//' >> $(1)
	rm -rf .venv-upgrade
endef

upgrade:  ## rewrite the constraints with the newest versions; run .ci/run before you commit them
	$(call resolve,constraints.txt,.venv,'.[dev,test-site]')
	$(call resolve,constraints-frameworks.txt,.venv-frameworks,$(FRAMEWORKS) '.[test,fast]')

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/'
