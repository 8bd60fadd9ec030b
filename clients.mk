# Clients that were not written here: what tests/clients calls the server with. Included by the Makefile.
# They go into .venv-clients, each in the version that tests/clients pins.

CLIENTS := .venv-clients
CLIENTS_BIN := $(CLIENTS)/bin
CLIENTS_LISTED := clients.mk $(addprefix tests/clients/,package-lock.json requirements.txt buf.gen.yaml)

.PHONY: clients-check clients-tools clients-chromium clients-libb64

clients-check: $(INSTALLED) clients-tools  ## Call both doors with curl, buf, Node, a browser and Python's Connect client
	$(BIN)/python -m pytest tests/clients --numprocesses auto --maxprocesses 8 --dist loadfile

# What cannot be installed is said here, and its tests are skipped; it is tried again the next time.
clients-tools: clients-chromium clients-libb64 $(addprefix $(CLIENTS)/,.python-installed .node-installed .perf-installed)
	@command -v curl >/dev/null || echo 'SKIPPED: tests with curl (it is not installed)'

$(CLIENTS)/.python-installed: $(CLIENTS_LISTED) $(wildcard protos/vae/v1/*.proto) | $(INSTALLED)
	@[ -x $(CLIENTS_BIN)/python ] || $(PYTHON) -m venv $(CLIENTS)
	@if $(CLIENTS_BIN)/python -m pip install --quiet --requirement tests/clients/requirements.txt; then \
	  mkdir -p $(CLIENTS)/python && PATH="$(CLIENTS_BIN):$$PATH" $(BIN)/python -m grpc_tools.protoc -I protos \
	    --py_out=$(CLIENTS)/python --connectrpc_out=$(CLIENTS)/python $(wildcard protos/vae/v1/*.proto) && touch $@; \
	else echo "SKIPPED: tests with Python's Connect client (it cannot be fetched)"; fi

# No script of a package is run: what a package ships is enough.
$(CLIENTS)/.node-installed: $(CLIENTS_LISTED) $(wildcard protos/vae/v1/*.proto)
	@mkdir -p $(CLIENTS) && cp tests/clients/package.json tests/clients/package-lock.json $(CLIENTS)
	@if ! command -v npm >/dev/null; then echo 'SKIPPED: tests with Node, buf and a browser (npm is not installed)'; \
	elif ! npm ci --prefix $(CLIENTS) --silent --ignore-scripts --no-audit --no-fund; then \
	  echo 'SKIPPED: tests with Node, buf and a browser (npm cannot fetch what they need)'; \
	else cd $(CLIENTS) && node_modules/.bin/buf generate --template ../tests/clients/buf.gen.yaml && touch $(@F); fi

clients-chromium:
	@if ! command -v chromium >/dev/null; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && \
	    apt-get install -qq -y --no-install-recommends chromium >/dev/null; then :; \
	  else echo 'SKIPPED: tests in a browser (as root: apt-get install chromium)'; fi; fi

# Triton's load generator comes with the wheels of its client up to 2.60; what it links to is no dependency of theirs.
$(CLIENTS)/.perf-installed: tests/clients/perf_analyzer.txt | $(INSTALLED)
	@if $(BIN)/python -m pip install --quiet --no-deps --upgrade --target $(CLIENTS)/perf --requirement $<; then touch $@; \
	else echo 'SKIPPED: tests with perf_analyzer (it cannot be fetched)'; fi

clients-libb64:
	@if ! ldconfig -p | grep -q libb64.so; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && \
	    apt-get install -qq -y --no-install-recommends libb64-0d >/dev/null; then :; \
	  else echo 'SKIPPED: tests with perf_analyzer (as root: apt-get install libb64-0d)'; fi; fi
