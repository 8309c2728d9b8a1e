# make demo   install everything and run the default study, from data to report
# make test   install everything and run the tests
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
BIN := .venv/bin
NATIVE := $(shell find csrc -type f 2>/dev/null)
WORKERS ?= 2

.PHONY: help demo test test-slow mutants lint docs lock bench clean preflight install

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

preflight:
	@PYTHON=$(PYTHON) tools/preflight.sh

.venv/dependencies: requirements.lock | preflight
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -r requirements.lock
	@touch $@

.venv/package: .venv/dependencies pyproject.toml setup.py src/xferpipe/native_sources.py $(NATIVE)
	$(BIN)/pip install --quiet --no-build-isolation --no-deps -e .
	@touch $@

install: .venv/package ## Install the locked dependencies and the package with its kernels

demo: install ## Run the default study: data, zoo, scores, fine-tunes, tables, report
	$(BIN)/snakemake --cores all

test: install ## Run the tests (under 15 minutes on 2 cores)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup -m "not slow"

test-slow: install ## Run the long tests (about 20 minutes on 2 cores)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m slow

mutants: install ## Plant known faults, one at a time, and count those that the tests catch (an hour)
	$(BIN)/python tools/mutate.py --result tools/mutants.md

lint: install ## Check style, imports between layers, and the workflow
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

docs: install ## Write the generated files: the schema of a study, references
	$(BIN)/python -m xferpipe.config.document
	$(BIN)/python -m xferpipe.graph.document

lock: ## Resolve the dependencies of pyproject.toml anew into requirements.lock
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra dev --extra cluster --extra demo \
		--extra onnx --no-emit-index-url --no-header pyproject.toml -o requirements.lock

bench: install ## Run every benchmark: kernels against peers, scores, training, probes, planning
	$(BIN)/python -m benchmarks

clean: ## Remove builds and caches; results stay
	rm -rf build dist .pytest_cache .ruff_cache .hypothesis src/*.egg-info
