# Two commands do everything: `make serve` and `make test`. `make` alone lists the rest.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup model serve test coverage lint format duplicates api wheel mutants conformance bench docs clean distclean

VENV := .venv
PY := $(VENV)/bin/python
# cuda where a GPU answers, else cpu; `make setup EXTRA=cpu` overrides.
EXTRA ?= $(shell nvidia-smi -L 2>/dev/null | grep -q GPU && echo cuda || echo cpu)
STAMP := $(VENV)/.setup-done
# Other programs' clients pin versions of their own, so they live beside the server's environment, not in it.
CLIENTS := .venv-conformance
CLIENTS_STAMP := $(CLIENTS)/.setup-done
DOCS := .venv-docs
DOCS_STAMP := $(DOCS)/.setup-done
ARGS ?=
BENCH ?= humaneval

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## make .venv and install everything (done again only when pyproject.toml changes)

$(STAMP): pyproject.toml setup.py scripts/setup.sh
	@scripts/setup.sh $(VENV) $(EXTRA)
	@touch $@

model: setup ## fetch the bundled model into the user's cache, once
	@$(PY) -m smc_decode.engines.bundled_model >/dev/null

# With a model of the user's own, the bundled one is not needed.
serve: setup $(if $(findstring --model,$(ARGS)),,model) ## start the server; ARGS="--port 9000 --model NAME" is passed on
	@exec $(VENV)/bin/smc-decode serve $(ARGS)

test: setup model ## run all tests: first those without an engine, then those on vLLM
	@scripts/test.sh $(PY)

coverage: setup ## lines and branches that the tests without an engine reach; fails below the floor in pyproject.toml
	@scripts/coverage.sh $(PY)

lint: setup ## ruff check, ruff format --check, mypy, who imports whom
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports --no-logo

duplicates: setup ## places that share more than ten lines
	$(PY) -m pylint smc_decode server

api: setup ## what changed in the library's public names since the last tag
	@scripts/api.sh $(PY)

wheel: setup ## build the wheel, install it alone, and try the library and the command there
	@scripts/wheel.sh $(PY)

mutants: setup ## break the code in small ways and see the tests fail; ARGS="smc_decode/laws/weights.py"
	@$(PY) scripts/mutants.py $(ARGS)

format: setup ## let ruff lay out and mend the code
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

$(CLIENTS_STAMP): pyproject.toml setup.py $(STAMP)
	@echo "==> Installing other programs' clients into $(CLIENTS)"
	@$(PY) -m venv $(CLIENTS)
	@$(CLIENTS)/bin/python -m pip --disable-pip-version-check install -q -e '.[conformance]'
	@touch $@

conformance: setup model $(CLIENTS_STAMP) ## run other programs' clients and contracts against the server
	@# Warnings of the clients are their authors' business.
	$(CLIENTS)/bin/python -m pytest -W default tests/conformance $(ARGS)

bench: setup model ## run a benchmark: BENCH=humaneval ARGS="..."
	$(PY) -m benchmarks.$(BENCH) $(ARGS)

$(DOCS_STAMP): pyproject.toml
	@python3 -m venv $(DOCS)
	@$(DOCS)/bin/python -m pip --disable-pip-version-check install -q -e '.[docs]'
	@touch $@

docs: $(DOCS_STAMP) ## build the documentation's site into site/, where every link must lead somewhere
	@NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --strict --quiet
	@echo "open site/index.html, or: $(DOCS)/bin/mkdocs serve"

clean: ## remove caches and build products
	rm -rf build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage .coverage.*
	find . -path ./$(VENV) -prune -o -path ./$(CLIENTS) -prune -o -type d -name __pycache__ -exec rm -rf {} +

distclean: clean ## clean, and remove the environments
	rm -rf $(VENV) $(CLIENTS) $(DOCS)
