"""The checks themselves: a mistake planted in a copy of the artefacts must be found, and named."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.deploy import compose, images, kserve_schemas, manifests, monitoring, rendering, tools, typescript

pytestmark = pytest.mark.slow

COPIED = (
    "k8s", "locks", "docs", "serving/Dockerfile", "training/Dockerfile", "training/first_bundle.sh", "pyproject.toml",
    "constraints.txt", "README.md", "LICENSE", ".dockerignore", ".env.example", "docker-compose.yml",
    "docker-compose.gpu.yml",
)  # fmt: skip
_LABELS = {
    "": "process_cpu_seconds_total process_resident_memory_bytes process_start_time_seconds "
    "vae_tls_certificate_expiry_seconds",
    "model method transport code": "vae_requests_total",
    "model method": "vae_request_duration_seconds_bucket vae_inflight_requests",
    "model graph": "vae_queue_duration_seconds_bucket vae_queue_duration_seconds_sum vae_queue_duration_seconds_count "
    "vae_inference_duration_seconds_sum vae_inference_duration_seconds_count vae_batch_rows_bucket vae_batch_rows_sum "
    "vae_batch_rows_count vae_batch_padding_rows_total vae_queue_rows vae_queue_limit_rows",
    "model graph cut_reason": "vae_batches_total",
    "model reason": "vae_rejected_total",
    "model": "vae_model_info vae_model_ready vae_model_load_seconds vae_refused_versions vae_posterior_kl_nats "
    "vae_active_units",
    "model outcome": "vae_reloads_total",
    "model source": "vae_samples_total",
    "model pool": "vae_pool_samples_total",
    "model statistic": "vae_latent_drift",
}  # fmt: skip
EXPORTED = {metric: set(labels.split()) for labels, metrics in _LABELS.items() for metric in metrics.split()}
"""Metrics and their labels, as `test_monitoring` finds them on a real server; here they need only be there."""

DEPLOYMENT = "k8s/base/deployment.yaml"
RULES = "k8s/monitoring/prometheus/rules.yml"
RUNTIME, INFERENCE = (f"k8s/kserve/base/{name}.yaml" for name in ("servingruntime", "inferenceservice"))
COMPOSE = "docker-compose.yml"

Check = Callable[[Path, Path], list[str]]


@dataclass(frozen=True)
class Mistake:
    """``old`` becomes ``new`` in ``file``, and ``check`` must answer with a line that has ``named`` in it."""

    file: str
    old: str
    new: str
    check: Check
    named: str


def overlay(root: Path, folder: Path) -> list[str]:
    """Schemas of and checks across the objects of the CPU overlay and the monitoring."""
    objects = [
        item for name in ("k8s/overlays/cpu", "k8s/monitoring") for item in rendering.render(root, name)
    ]
    return manifests.problems(objects) + rendering.schema_problems(objects, folder)


def across(root: Path, folder: Path) -> list[str]:
    """The checks across objects alone, which are quick."""
    objects = [
        item for name in ("k8s/overlays/cpu", "k8s/monitoring") for item in rendering.render(root, name)
    ]
    return manifests.problems(objects)


def fetched(root: Path, folder: Path) -> list[str]:
    return manifests.problems(rendering.render(root, "k8s/overlays/fetched"))


def on_kserve(root: Path, folder: Path) -> list[str]:
    """The checks across objects of a way of running it in each of KServe's modes."""
    rendered = [rendering.render(root, name) for name in ("k8s/kserve/grpc", "k8s/kserve/canary")]
    return [problem for objects in rendered for problem in manifests.problems(objects)]


def canary(root: Path, folder: Path) -> list[str]:
    """KServe's schemas and the checks across objects, of the canary."""
    objects = rendering.render(root, "k8s/kserve/canary")
    return kserve_schemas.problems(objects, folder) + manifests.problems(objects)


def typed(root: Path, folder: Path) -> list[str]:
    return typescript.object_problems(rendering.render(root, "k8s/monitoring"), folder)


def dashboard(root: Path, folder: Path) -> list[str]:
    read = [*monitoring.metric_problems(root, EXPORTED), *monitoring.label_problems(root, EXPORTED)]
    return [*monitoring.expression_problems(root, folder), *read]


def rules(root: Path, folder: Path) -> list[str]:
    return [*monitoring.config_problems(root, folder), *monitoring.rule_problems(root)]


def composed(root: Path, folder: Path) -> list[str]:
    return compose.problems(root)


def specified(root: Path, folder: Path) -> list[str]:
    return compose.schema_problems(root)


def built(root: Path, folder: Path) -> list[str]:
    return images.hadolint_problems(root) + images.problems(root)


MISTAKES = {
    # Kubernetes
    "unknown field": Mistake(DEPLOYMENT, "periodSeconds: 10", "periodSecond: 10", overlay, "periodSecond"),
    "removed version of a kind": Mistake(
        "k8s/base/autoscaler.yaml", "autoscaling/v2\n", "autoscaling/v2beta2\n", overlay, "v2beta2"
    ),
    "misspelt kind": Mistake(
        "k8s/base/disruptionbudget.yaml", "kind: PodDisruptionBudget", "kind: PodDisruptionBugdet", overlay, "Bugdet"
    ),
    "selector that finds no pod": Mistake(
        "k8s/base/services.yaml", "component: server", "component: serving", across, "Service vaeserve: no pod"
    ),
    "port that no container has": Mistake(
        "k8s/base/services.yaml", "targetPort: grpc", "targetPort: web", across, "no port 'web'"
    ),
    "probe on another port": Mistake(DEPLOYMENT, "port: 50051", "port: 50052", across, "port 50052"),
    "probe of an unknown service": Mistake(
        DEPLOYMENT, "service: vae.v1.VaeService", "service: vae.VaeService", across, "'vae.VaeService'"
    ),
    "autoscaler of nothing": Mistake(
        "k8s/base/autoscaler.yaml", "kind: Deployment\n    name: vaeserve", "kind: Deployment\n    name: vae-serve",
        across, "no Deployment vae-serve",
    ),
    "replicas against the autoscaler": Mistake(
        DEPLOYMENT, "  revisionHistoryLimit: 5", "  replicas: 1\n  revisionHistoryLimit: 5", across, "replicas would undo"
    ),
    "drain longer than the pod may take": Mistake(
        "k8s/base/kustomization.yaml", "VAE_GRACE_S=30", "VAE_GRACE_S=300", across, "stopping takes up to 310 s"
    ),
    "setting that does not exist": Mistake(
        "k8s/base/kustomization.yaml", "VAE_GRACE_S=30", "VAE_GRACE_S=30\n      - VAE_GRACE=30", across, "VAE_GRACE"
    ),
    "setting with a wrong value": Mistake(
        "k8s/base/kustomization.yaml", "VAE_LOG_FORMAT=json", "VAE_LOG_FORMAT=xml", across, "log_format"
    ),
    "missing service account": Mistake(
        DEPLOYMENT, "serviceAccountName: vaeserve", "serviceAccountName: server", across, "no ServiceAccount server"
    ),
    "volume mounted but not there": Mistake(
        DEPLOYMENT, "        - name: tmp\n          emptyDir", "        - name: scratch\n          emptyDir", across, "'tmp'"
    ),
    "writable root": Mistake(
        DEPLOYMENT, "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", across, "read-only root"
    ),
    "no limit for memory": Mistake(DEPLOYMENT, "              memory: 1Gi\n", "", across, "want limits"),
    "threads apart from the CPU limit": Mistake(
        DEPLOYMENT, "resource: limits.cpu", "resource: limits.memory", across, "limits.cpu"
    ),
    "budget for other pods": Mistake(
        "k8s/base/disruptionbudget.yaml", "component: server", "component: web", across, "PodDisruptionBudget"
    ),
    "policy for a port that is not there": Mistake(
        "k8s/base/networkpolicy.yaml", "- port: metrics", "- port: prometheus", across, "no port 'prometheus'"
    ),
    "policy that lets in by one door": Mistake(
        "k8s/base/networkpolicy.yaml", "        - port: http\n", "", across, "want grpc and http in one rule"
    ),
    "policy that lets everybody in": Mistake(
        "k8s/base/networkpolicy.yaml", "        - podSelector: {}\n        - namespaceSelector:\n"
        "            matchLabels:\n              vaeserve.client: \"true\"\n", "", overlay, "lets everybody in",
    ),
    "door that listens to itself": Mistake(
        DEPLOYMENT, "0.0.0.0:8080", "127.0.0.1:8080", across, "VAE_HTTP_ADDRESS 127.0.0.1:8080: want all interfaces"
    ),
    "door on a port that is not named": Mistake(
        DEPLOYMENT, "            - name: http\n              containerPort: 8080\n", "", across, "VAE_HTTP_ADDRESS"
    ),
    "service of one door": Mistake(
        "k8s/base/services.yaml", "    - name: http\n      port: 8080\n      targetPort: http\n      appProtocol: http\n", "",
        across, "want a port http",
    ),
    "HTTP/2 taken for granted": Mistake(
        "k8s/base/services.yaml", "appProtocol: http\n", "appProtocol: kubernetes.io/h2c\n", across, "want a port http"
    ),
    "monitor that finds no service": Mistake(
        "k8s/monitoring/servicemonitor.yaml", 'vaeserve.scrape: "true"', 'vaeserve.scrape: "yes"', across, "found 0"
    ),
    "monitor of a port that is not there": Mistake(
        "k8s/monitoring/servicemonitor.yaml", "port: metrics", "port: web", across, "no port named 'web'"
    ),
    "unknown field of a custom kind": Mistake(
        "k8s/monitoring/servicemonitor.yaml", "scrapeTimeout", "scrapeTimeouts", typed, "scrapeTimeouts"
    ),
    "image without a tag": Mistake(
        "k8s/overlays/fetched/kustomization.yaml", "    newTag: 0.1.0-cpu\n", "", fetched, "want a tag"
    ),
    "component that scales something else": Mistake(
        "k8s/components/keda/scaledobject.yaml", "    name: vaeserve\n", "    name: server\n", fetched, "no Deployment server"
    ),
    "collector behind a policy": Mistake(
        "k8s/components/traces/networkpolicy.yaml", "- port: 4318", "- port: 4317", fetched, "no policy lets out to (4318, 'TCP')"
    ),
    # KServe
    "unknown field of an InferenceService": Mistake(
        "k8s/kserve/canary/kustomization.yaml", "canaryTrafficPercent:", "canaryTraffic:", canary, "'canaryTraffic' was unexp"
    ),
    "text for a number": Mistake(
        "k8s/kserve/canary/kustomization.yaml", "Percent: 10", 'Percent: "10"', canary, "is not of type 'integer'"
    ),
    "unknown field of a ServingRuntime": Mistake(
        RUNTIME, "protocolVersions:", "protocolVersion:", canary, "'protocolVersion' was unexpected"
    ),
    "unknown field deep in a ServingRuntime": Mistake(
        RUNTIME, "          path: /v2/health/live", "          paths: /v2/health/live", canary, "'paths' was unexpected"
    ),
    "version of a kind that KServe has not": Mistake(
        RUNTIME, "serving.kserve.io/v1alpha1", "serving.kserve.io/v1beta1", canary, "'serving.kserve.io/v1alpha1' was expected"
    ),
    "canary that gets no traffic": Mistake(
        "k8s/kserve/knative/kustomization.yaml", "Mode: Knative", "Mode: Standard", canary, "a canary no traffic"
    ),
    "mode of an earlier KServe": Mistake(
        "k8s/kserve/standard/inferenceservice.yaml", "Standard", "RawDeployment", on_kserve, "came 'RawDeployment'"
    ),
    "runtime that is not there": Mistake(INFERENCE, "runtime: vaeserve", "runtime: vae", on_kserve, "no ServingRuntime vae"),
    "container of another name": Mistake(RUNTIME, "name: kserve-container", "name: server", on_kserve, "no container kserve-"),
    "format that the runtime does not take": Mistake(INFERENCE, 'version: "1"', 'version: "9"', on_kserve, "takes the formats"),
    "protocol that the runtime does not speak": Mistake(RUNTIME, "[v2, grpc-v2]", "[v2]", on_kserve, "not grpc-v2"),
    "protocol at the other port": Mistake(
        "k8s/kserve/grpc/kustomization.yaml", "protocolVersion: grpc-v2", "protocolVersion: v2", on_kserve, "v2 is spoken on 8080"
    ),
    "metrics where KServe looks for REST": Mistake(
        "k8s/kserve/grpc/kustomization.yaml", "                protocol: TCP\n",
        "                protocol: TCP\n              - name: metrics\n                containerPort: 9464\n", on_kserve,
        "not gRPC to port metrics",
    ),
    "metrics of nobody": Mistake(
        "k8s/kserve/base/service.yaml", "inferenceservice: vaeserve", "inferenceservice: vae", on_kserve, "no pod has"
    ),
    "gRPC at a port that KServe takes for REST": Mistake(
        "k8s/kserve/grpc/kustomization.yaml", "name: h2c", "name: main", on_kserve, "by which KServe tells gRPC"
    ),
    "two ports on Knative": Mistake(
        "k8s/kserve/knative/kustomization.yaml", "                protocol: TCP\n",
        "                protocol: TCP\n              - name: h2c\n                containerPort: 50051\n", on_kserve, "Knative wants one port",
    ),
    "hook that Knative refuses": Mistake(
        INFERENCE, "    model:\n", "    model:\n      lifecycle: {preStop: {sleep: {seconds: 5}}}\n", on_kserve, "refuses lifecycle"
    ),
    "grace that Knative refuses": Mistake(
        INFERENCE, "    model:\n", "    terminationGracePeriodSeconds: 60\n    model:\n", on_kserve, "Knative refuses terminationGrace"
    ),
    "model where KServe puts none": Mistake(RUNTIME, "value: /mnt/models", "value: /models", on_kserve, "where KServe puts"),
    "claim that nobody makes": Mistake(INFERENCE, "pvc://vaeserve-models", "pvc://models", on_kserve, "Claim models"),
    "probe of an address that is not there": Mistake(RUNTIME, "/v2/health/ready", "/healthz", on_kserve, "answers no '/healthz'"),
    "liveness by readiness": Mistake(RUNTIME, "/v2/health/live", "/v2/health/ready", on_kserve, "is not to be killed"),
    # Prometheus and Grafana
    "rule that does not parse": Mistake(RULES, "changes(process", "changes((process", rules, "could not parse"),
    "alert on a wrong threshold": Mistake(
        RULES, "ratio_rate5m > 0.01\n          and", "ratio_rate5m > 0.1\n          and", rules, "VaeErrorRatioHigh"
    ),
    "alert without a runbook": Mistake(
        RULES, "runbook: docs/operations.md#vaelatentdrift", "runbook: docs/operations.md#drift", rules, "no such section"
    ),
    "alert on a metric that is not there": Mistake(
        RULES, "(vae_refused_versions) > 0", "(vae_reload_failures) > 0", dashboard, "no metric vae_reload_failures"
    ),
    "panel that does not parse": Mistake(
        monitoring.DASHBOARD, "sum(rate(vae_samples_total", "sum(rate((vae_samples_total", dashboard, "parse"
    ),
    "panel without a metric": Mistake(
        monitoring.DASHBOARD, "vae_inflight_requests", "vae_in_flight_requests", dashboard, "vae_in_flight_requests"
    ),
    "panel by a label that is not there": Mistake(
        monitoring.DASHBOARD, "sum by (transport)", "sum by (door)", dashboard, "has the label door"
    ),
    "panel by a label of another metric": Mistake(
        monitoring.DASHBOARD, "sum by (source)", "sum by (transport)", dashboard, "has the label transport"
    ),
    "scrape of another port": Mistake(
        "k8s/monitoring/prometheus/prometheus.yml", "server:9464", "server:9090", composed, "want server:9464"
    ),
    # Compose and images
    "misspelt key": Mistake(COMPOSE, "    stop_grace_period:", "    stop_graceperiod:", specified, "stop_graceperiod"),
    "dependency on nothing": Mistake(COMPOSE, "depends_on: [prometheus]", "depends_on: [prom]", composed, "'prom'"),
    "one-shot that restarts": Mistake(COMPOSE, 'restart: "no"', "restart: always", composed, "waits for trainer"),
    "published to the world": Mistake(
        COMPOSE, "${BIND_ADDRESS:-127.0.0.1}:${GRPC_PORT", "0.0.0.0:${GRPC_PORT", composed, "loopback"
    ),
    "second door published to the world": Mistake(
        COMPOSE, "${BIND_ADDRESS:-127.0.0.1}:${HTTP_PORT", "0.0.0.0:${HTTP_PORT", composed, "loopback"
    ),
    "door that is not published": Mistake(
        COMPOSE, "      - ${BIND_ADDRESS:-127.0.0.1}:${HTTP_PORT:-8080}:8080\n", "", composed, "8080, which is not published"
    ),
    "knob that nothing reads": Mistake(
        ".env.example", "#GRPC_PORT=50051", "#VAE_GRPC_PORT=50051", composed, "VAE_GRPC_PORT: in .env.example"
    ),
    "knob with another default": Mistake(".env.example", "#SERVER_CPUS=2", "#SERVER_CPUS=4", composed, "SERVER_CPUS"),
    "container as root": Mistake("serving/Dockerfile", "USER 10001:10001", "USER root", built, "USER"),
    "dependencies without hashes": Mistake(
        "training/Dockerfile", "        --require-hashes --only-binary", "        --only-binary", built, "require-hashes"
    ),
    "file kept out of the build": Mistake(".dockerignore", "!locks\n", "", built, ".dockerignore keeps out"),
    "version that is not the tested one": Mistake(
        "constraints.txt", "grpcio==1.78.2", "grpcio==1.79.0", built, "tested is 1.79.0"
    ),
}  # fmt: skip


@pytest.fixture
def copy(tmp_path) -> Path:
    """The artefacts in a folder of their own."""
    root = tmp_path / "copy"
    for name in COPIED:
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (tools.ROOT / name).is_dir():
            shutil.copytree(tools.ROOT / name, target)
        else:
            shutil.copy(tools.ROOT / name, target)
    for name in ("training", "serving"):
        (root / name).mkdir(exist_ok=True)
    return root


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_planted_mistake_is_found(mistake, copy, tmp_path):
    """The check names what is wrong; that it says nothing of the artefacts as they are, the other tests show."""
    target = copy / mistake.file
    content = target.read_text()
    assert mistake.old in content, "the mistake cannot be planted any more"
    target.write_text(content.replace(mistake.old, mistake.new, 1))
    if mistake.file == RULES:
        (copy / "k8s/monitoring/prometheusrule.yaml").write_text(target.read_text())
    found = mistake.check(copy, tmp_path)
    assert any(mistake.named in problem for problem in found), found
