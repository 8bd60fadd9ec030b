# Benchmarks; included by the Makefile. Results go to benchmarks/results (benchmarks/README.md).
# BENCH passes options on: make bench BENCH='--quick --workloads mlp_1x64'

BENCH ?=
ARGS ?=
PEERS := mlserver pytriton mosec

.PHONY: bench bench-peers bench-overload bench-mixed bench-training bench-tables gpu-check soak h2load

bench: $(INSTALLED) h2load  ## Measure the server against bare gRPC and bare ONNX Runtime
	$(BIN)/python -m benchmarks.serving $(BENCH)

bench-peers: $(INSTALLED) h2load $(PEERS:%=.venv-peers/%/.installed)  ## The same, with other servers beside it
	$(BIN)/python -m benchmarks.serving --peers $(BENCH)

bench-overload: $(INSTALLED) h2load .venv-peers/mosec/.installed  ## More than the server can do, by rude callers; mosec beside it
	$(BIN)/python -m benchmarks.serving.overload --peer $(BENCH)

bench-mixed: $(INSTALLED)  ## Latency of single rows beside a client that asks for 2,048 at a time
	$(BIN)/python -m benchmarks.serving.mixed $(BENCH)

bench-training: $(INSTALLED) .venv-peers/pythae/.installed  ## Time to a −ELBO beside pytorch/examples and pythae
	$(BIN)/python -m benchmarks.training $(BENCH)

TABLES ?= ../shared/data

bench-tables: $(INSTALLED) .venv-peers/tables/.installed  ## Synthetic records, anomalies, imputation beside others; TABLES=folder
	$(BIN)/python -m benchmarks.tables.adult --data $(TABLES)/tables/adult.csv --peers .venv-peers/tables
	$(BIN)/python -m benchmarks.tables.anomalies --data $(TABLES)/adbench --peers .venv-peers/tables
	$(BIN)/python -m benchmarks.tables.imputation --adult $(TABLES)/tables/adult.csv --adbench $(TABLES)/adbench

gpu-check: $(INSTALLED)  ## Prove the CUDA provider on a card, in 8 minutes; ARGS='--device cpu' rehearses
	$(BIN)/python -m benchmarks.gpu.check $(ARGS)

soak: $(INSTALLED)  ## 20 minutes of mixed load: memory, errors, metrics
	$(BIN)/python -m benchmarks.serving.soak $(BENCH)

.venv-peers/pythae/.installed: benchmarks/training/pythae.txt
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target $(@D) --requirement $<
	touch $@

.venv-peers/tables/.installed: benchmarks/tables/peers.txt
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target $(@D) --requirement $<
	touch $@

.venv-peers/%/.installed: benchmarks/serving/peers/%.txt
	[ -x $(@D)/bin/python ] || $(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --requirement $<
	touch $@

h2load:
	@command -v h2load >/dev/null && exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	apt-get update -qq && apt-get install -y -qq --no-install-recommends nghttp2-client; else \
	echo 'h2load is missing; want nghttp2, on Debian: sudo apt-get install nghttp2-client' >&2; exit 2; fi
