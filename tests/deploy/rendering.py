"""Kustomizations rendered by kubectl, and every object checked against its schema."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.deploy import kserve, tools

Object = dict[str, Any]

KUSTOMIZATIONS = (
    "k8s/overlays/cpu",
    "k8s/overlays/gpu",
    "k8s/overlays/fetched",
    "k8s/monitoring",
    "k8s/training",
    "k8s/training/distributed",
    "k8s/kserve/rest",
    "k8s/kserve/grpc",
    "k8s/kserve/knative",
    "k8s/kserve/canary",
)
KUBERNETES_VERSIONS = ("1.32", "1.37")
"""The oldest supported, and the newest that kubernetes-validate knows."""
CUSTOM_KINDS = {
    "monitoring.coreos.com/v1/ServiceMonitor",
    "monitoring.coreos.com/v1/PrometheusRule",
    "keda.sh/v1alpha1/ScaledObject",
    "kubeflow.org/v1/PyTorchJob",
    "serving.kserve.io/v1alpha1/ServingRuntime",
    "serving.kserve.io/v1beta1/InferenceService",
}
"""Kinds that are no part of Kubernetes itself. Any other that has no schema is a mistake."""

_REPLICA_KEYS = {"replicas", "restartPolicy", "template"}


class RenderError(Exception):
    """kubectl could not make the objects."""


def render(root: Path, kustomization: str) -> list[Object]:
    """The objects that ``kubectl apply -k`` would send."""
    done = tools.run(tools.find("kubectl"), "kustomize", root / kustomization)
    if done.returncode:
        raise RenderError(f"{kustomization}: {done.stderr.strip()}")
    return [found for found in yaml.safe_load_all(done.stdout) if found]


def kind_of(item: Object) -> str:
    return f"{item.get('apiVersion')}/{item.get('kind')}"


def schema_problems(objects: list[Object], folder: Path, version: str = KUBERNETES_VERSIONS[0]) -> list[str]:
    """Every object against the schemas of one version of Kubernetes; writes to ``folder``."""
    checked = [item for item in objects if kind_of(item) not in CUSTOM_KINDS]
    checked += [pod for item in objects for pod in _pods_inside(item, objects)]
    target = folder / "objects.yaml"
    target.write_text(yaml.safe_dump_all(checked))
    problems = [problem for item in objects for problem in _shape_problems(item)]
    done = tools.run(tools.find("kubernetes-validate"), "--strict", "--quiet", "-k", version, target)
    complaints = (done.stdout + done.stderr).strip()
    # An unknown kind or a removed version of one is only a warning there, with exit code 0.
    if done.returncode or complaints:
        problems.append(f"Kubernetes {version}: {complaints}")
    return problems


def model_problems(objects: list[Object]) -> list[str]:
    """Objects against the types of kubernetes-models, which also knows quantities and the operator's kinds."""
    script = Path(__file__).parent / "check_models.cjs"
    node = tools.find_node("kubernetes-models")
    return tools.problems_of(tools.run(node, script, tools.NODE_MODULES, text=json.dumps(objects)))


def _pods_inside(item: Object, objects: list[Object]) -> Iterator[Object]:
    """The pods of custom kinds, as objects that have a schema."""
    match item.get("kind"):
        case "PyTorchJob":
            specs = [replica["template"]["spec"] for replica in item["spec"]["pytorchReplicaSpecs"].values()]
        case "InferenceService":
            specs = [kserve.pod_of(item, objects)]
        case _:
            specs = []
    for number, spec in enumerate(specs):
        metadata = {"name": f"{item['metadata']['name']}-{number}"}
        yield {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _shape_problems(item: Object) -> Iterator[str]:
    """The few keys around the pods of a PyTorchJob, for which no package has a schema."""
    if item.get("kind") != "PyTorchJob":
        return
    name, spec = item["metadata"]["name"], item["spec"]
    unknown = set(spec) - {"nprocPerNode", "runPolicy", "elasticPolicy", "pytorchReplicaSpecs"}
    for role, replica in spec["pytorchReplicaSpecs"].items():
        if role not in ("Master", "Worker"):
            yield f"PyTorchJob {name}: want replicas Master and Worker, came {role}"
        unknown |= set(replica) - _REPLICA_KEYS
        if [container["name"] for container in replica["template"]["spec"]["containers"]] != ["pytorch"]:
            yield f"PyTorchJob {name}: {role}: want the one container 'pytorch', which the operator looks for"
    if unknown:
        yield f"PyTorchJob {name}: unknown keys {', '.join(sorted(unknown))}"
