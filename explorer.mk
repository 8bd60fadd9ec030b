# The explorer's page in a real browser, and its types. Included by the Makefile.
# What it wants goes into .venv-explorer, in the versions that tests/explorer pins; the page itself wants nothing.

EXPLORER := .venv-explorer
EXPLORER_LISTED := explorer.mk $(addprefix tests/explorer/,package.json package-lock.json requirements.txt)
PAGE := serving/explorer

.PHONY: explorer-check explorer-tools explorer-types

explorer-check: $(INSTALLED) explorer-tools explorer-types  ## Look at the explorer as people do, in a headless Chromium
	$(BIN)/python -m pytest tests/explorer

# What cannot be installed is said here, and its tests are skipped; it is tried again the next time.
explorer-tools: clients-chromium $(EXPLORER)/.python-installed $(EXPLORER)/.node-installed

$(EXPLORER)/.python-installed: $(EXPLORER_LISTED) | $(INSTALLED)
	@mkdir -p $(EXPLORER)
	@if $(BIN)/python -m pip install --quiet --upgrade --target $(EXPLORER)/python --requirement tests/explorer/requirements.txt; \
	then touch $@; else echo 'SKIPPED: tests in a browser (playwright cannot be fetched)'; fi

# No script of a package is run: what a package ships is enough.
$(EXPLORER)/.node-installed: $(EXPLORER_LISTED)
	@mkdir -p $(EXPLORER) && cp tests/explorer/package.json tests/explorer/package-lock.json $(EXPLORER)
	@if ! command -v npm >/dev/null; then echo "SKIPPED: the page's types and its accessibility (npm is not installed)"; \
	elif npm ci --prefix $(EXPLORER) --silent --ignore-scripts --no-audit --no-fund; then touch $@; \
	else echo "SKIPPED: the page's types and its accessibility (npm cannot fetch what they need)"; fi

explorer-types: $(EXPLORER)/.node-installed
	@if [ -e $(EXPLORER)/.node-installed ] && command -v node >/dev/null; then \
	  echo 'tsc: the page' && node $(EXPLORER)/node_modules/typescript/bin/tsc --project $(PAGE)/tsconfig.json; \
	else echo "SKIPPED: the page's types (Node is missing, or npm cannot fetch the compiler)"; fi
