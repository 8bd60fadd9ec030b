"""The checks themselves: a mistake planted in a copy of the artefacts must be found, and named."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.deploy import compose, images, manifests, monitoring, rendering, tools, typescript

pytestmark = pytest.mark.slow

COPIED = (
    "k8s", "locks", "docs", "serving/Dockerfile", "training/Dockerfile", "training/first_bundle.sh", "pyproject.toml",
    "constraints.txt", "README.md", "LICENSE", ".dockerignore", ".env.example", "docker-compose.yml",
    "docker-compose.gpu.yml",
)  # fmt: skip
EXPORTED = {
    "process_cpu_seconds_total", "process_resident_memory_bytes", "process_start_time_seconds",
    *(f"vae_{name}" for name in (
        "requests_total", "request_duration_seconds_bucket", "queue_duration_seconds_bucket",
        "queue_duration_seconds_sum", "queue_duration_seconds_count", "inference_duration_seconds_sum",
        "inference_duration_seconds_count", "batch_rows_bucket", "batch_rows_sum", "batch_rows_count",
        "batch_padding_rows_total", "batches_total", "queue_rows", "queue_limit_rows", "rejected_total",
        "inflight_requests", "model_info", "model_ready", "model_load_seconds", "reloads_total", "refused_versions",
        "samples_total", "pool_samples_total", "latent_drift", "posterior_kl_nats", "active_units",
    )),
}  # fmt: skip
"""As `test_monitoring` finds them on a real server; here they need only be there."""

DEPLOYMENT = "k8s/base/deployment.yaml"
RULES = "k8s/monitoring/prometheus/rules.yml"
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


def typed(root: Path, folder: Path) -> list[str]:
    return typescript.object_problems(rendering.render(root, "k8s/monitoring"), folder)


def dashboard(root: Path, folder: Path) -> list[str]:
    return [*monitoring.expression_problems(root, folder), *monitoring.metric_problems(root, EXPORTED)]


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
        "k8s/base/services.yaml", "targetPort: grpc", "targetPort: http", across, "no port 'http'"
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
    "monitor that finds no service": Mistake(
        "k8s/monitoring/servicemonitor.yaml", 'vaeserve.scrape: "true"', 'vaeserve.scrape: "yes"', across, "found 0"
    ),
    "monitor of a port that is not there": Mistake(
        "k8s/monitoring/servicemonitor.yaml", "port: metrics", "port: http", across, "no port named 'http'"
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
