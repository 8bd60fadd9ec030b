# Needs Python 3.11 to 3.13 and make; everything else goes into .venv. `make help` lists the targets.
# On a machine without a GPU the smaller torch saves about 2.5 GB:
#   PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make demo

CANDIDATES := python3.13 python3.12 python3.11 python3 python
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
PYTHON ?= $(firstword $(foreach p,$(CANDIDATES),$(shell $(p) -c '$(FITS)' 2>/dev/null && echo $(p))))
BIN := .venv/bin
INSTALLED := .venv/.installed
TRITON := .venv-triton
TRITON_INSTALLED := $(TRITON)/.installed
BUF_PACKAGE := @bufbuild/buf@1.75.0

include bench.mk clients.mk deploy.mk explorer.mk

.PHONY: help setup demo demo-open test test-slow check protos buf clean
.DEFAULT_GOAL := help

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(INSTALLED)  ## Build .venv with everything in the versions of constraints.txt

$(INSTALLED): pyproject.toml constraints.txt
	@if [ -z "$(PYTHON)" ]; then echo "want Python 3.11 to 3.13 on PATH, or make PYTHON=/path/to/python" >&2; exit 2; fi
	[ -x $(BIN)/python ] || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt pip
	$(BIN)/python -m pip install --constraint constraints.txt --editable '.[training,serving,tracing]' --group dev
	touch $@

demo: $(INSTALLED)  ## Train on digits, export, serve, call, draw demo/*.png
	$(BIN)/python -m demo

demo-open: $(INSTALLED)  ## Keep the demo's model served, for your browser, until Ctrl-C
	$(BIN)/python -m demo --open

test: $(INSTALLED) $(TRITON_INSTALLED)  ## Run the tests, but for the slow ones
	$(BIN)/python -m pytest -m "not slow" --numprocesses auto --maxprocesses 8 --dist loadfile --ignore tests/triton --ignore tests/explorer
	PYTHONPATH=$(CURDIR)/$(TRITON) $(BIN)/python -m pytest tests/triton

# Clients of others, before .venv on the path of their tests: they want another gRPC than the server is pinned to.
$(TRITON_INSTALLED): $(INSTALLED) tests/triton/requirements.txt
	rm -rf $(TRITON)
	$(BIN)/python -m pip install --quiet --target $(TRITON) --requirement tests/triton/requirements.txt
	touch $@

test-slow: $(INSTALLED)  ## Run the slow tests
	$(BIN)/python -m pytest -m slow

check: $(INSTALLED) buf explorer-types  ## Lint, format, types, import rules, size limits, fresh generated code
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python protos/generate.py --check
	$(BIN)/python -m pytest -q tests/test_architecture.py

buf:
	@buf="$$(command -v buf || echo 'npm exec --yes --package=$(BUF_PACKAGE) -- buf')"; \
	if $$buf --version >/dev/null 2>&1; then echo "$$buf lint, format" && $$buf lint && $$buf format --diff --exit-code; \
	else echo 'SKIPPED: buf lint and format (no buf on PATH, and npm is missing or cannot fetch it)'; fi

protos: $(INSTALLED)  ## Generate serving/pb from protos
	$(BIN)/python protos/generate.py

clean:  ## Back to a fresh checkout; of runs and models only the demo's go
	rm -rf .venv $(TRITON) $(CLIENTS) $(EXPLORER) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist *.egg-info
	rm -rf runs/demo runs/demo-ae models/digits models/digits-ae demo/*.png demo/*.log
	find training serving demo benchmarks tests protos -name __pycache__ -type d -prune -exec rm -rf {} +
