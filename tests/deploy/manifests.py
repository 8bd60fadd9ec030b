"""What schemas cannot say: whether the objects of one rendering, and the server, fit each other.

Each check yields one line a mistake. ``ALL`` is the list of them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from serving.pb.vae.v1 import vae_service_pb2
from serving.settings import PREFIX, Settings
from tests.deploy.rendering import Object

HEALTH_SERVICES = ("", vae_service_pb2.DESCRIPTOR.services_by_name["VaeService"].full_name)
"""Names that the server's health service always knows; a model's name would tie a probe to a model."""
ELSEWHERE = {
    ("PersistentVolumeClaim", "vaeserve-models"),
    ("PersistentVolumeClaim", "vaeserve-runs"),
    ("PersistentVolumeClaim", "vaeserve-data"),
}
"""What a rendering may refer to because another one brings it."""


@dataclass(frozen=True)
class Pod:
    """A pod template with the object it comes from."""

    owner: str
    labels: dict[str, str]
    spec: Object

    @property
    def containers(self) -> list[Object]:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]


class Rendering:
    """The objects of one ``kubectl kustomize``."""

    def __init__(self, objects: list[Object]) -> None:
        self.objects = objects
        self.pods = [pod for item in objects for pod in _pods(item)]

    def of(self, kind: str) -> list[Object]:
        return [item for item in self.objects if item["kind"] == kind]

    def has(self, kind: str, name: str) -> bool:
        return any(item["metadata"]["name"] == name for item in self.of(kind))

    def selected(self, labels: dict[str, str]) -> list[Pod]:
        return [pod for pod in self.pods if labels.items() <= pod.labels.items()]


Check = Callable[[Rendering], Iterator[str]]


def problems(objects: list[Object]) -> list[str]:
    rendering = Rendering(objects)
    return [problem for check in ALL for problem in check(rendering)]


def names_are_unique(rendering: Rendering) -> Iterator[str]:
    seen = set()
    for item in rendering.objects:
        key = (item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"])
        if key in seen:
            yield f"{_title(item)}: there are two of it"
        seen.add(key)
        if item["kind"] != "Namespace" and "namespace" not in item["metadata"]:
            yield f"{_title(item)}: want a namespace"


def selectors_find_pods(rendering: Rendering) -> Iterator[str]:
    for item in rendering.objects:
        if item["kind"] == "Deployment":
            labels = item["spec"]["template"]["metadata"].get("labels", {})
            if not item["spec"]["selector"]["matchLabels"].items() <= labels.items():
                yield f"{_title(item)}: its selector is not among the labels of its own pods {labels}"
        elif (selector := _pod_selector(item)) is not None and not rendering.selected(selector):
            yield f"{_title(item)}: no pod has the labels {selector}"
    for pod in rendering.pods:
        for spread in pod.spec.get("topologySpreadConstraints", []):
            if not spread["labelSelector"]["matchLabels"].items() <= pod.labels.items():
                yield f"{pod.owner}: topology spread over {spread['topologyKey']} does not select its own pods"


def ports_exist(rendering: Rendering) -> Iterator[str]:
    for item in rendering.of("Service"):
        for port in item["spec"]["ports"]:
            target = port.get("targetPort", port["port"])
            for pod in rendering.selected(item["spec"]["selector"]):
                if target not in _ports(pod):
                    yield f"{_title(item)}: port {port.get('name')}: {pod.owner} has no port {target!r}"
    for item in rendering.of("NetworkPolicy"):
        for pod in rendering.selected(item["spec"]["podSelector"].get("matchLabels", {})):
            for rule in item["spec"].get("ingress", []):
                for port in rule.get("ports", []):
                    if port["port"] not in _ports(pod):
                        yield f"{_title(item)}: {pod.owner} has no port {port['port']!r}"


def monitors_find_services(rendering: Rendering) -> Iterator[str]:
    """Only where both are in one rendering; ``test_manifests`` joins the two."""
    for item in rendering.of("ServiceMonitor"):
        wanted = item["spec"]["selector"]["matchLabels"]
        found = [
            s for s in rendering.of("Service") if wanted.items() <= s["metadata"].get("labels", {}).items()
        ]
        if rendering.of("Service") and len(found) != 1:
            yield f"{_title(item)}: want one Service with the labels {wanted}, found {len(found)}"
        for service in found:
            named = {port.get("name") for port in service["spec"]["ports"]}
            for endpoint in item["spec"]["endpoints"]:
                if endpoint["port"] not in named:
                    yield f"{_title(item)}: {_title(service)} has no port named {endpoint['port']!r}"


def probes_ask_what_the_server_knows(rendering: Rendering) -> Iterator[str]:
    for pod in rendering.pods:
        for container in pod.containers:
            for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
                probe = container.get(kind)
                if not probe:
                    if _is_server(container):
                        yield f"{pod.owner}: {container['name']}: want a {kind}"
                    continue
                grpc = probe.get("grpc", {})
                if grpc.get("port") not in _ports(pod):
                    yield f"{pod.owner}: {kind}: no container has the port {grpc.get('port')}"
                if grpc.get("service", "") not in HEALTH_SERVICES:
                    yield f"{pod.owner}: {kind}: the server knows no health service {grpc['service']!r}"


def autoscalers_have_targets(rendering: Rendering) -> Iterator[str]:
    for item in [*rendering.of("HorizontalPodAutoscaler"), *rendering.of("ScaledObject")]:
        spec = item["spec"]
        reference = {"kind": "Deployment", **spec["scaleTargetRef"]}
        target = [d for d in rendering.of(reference["kind"]) if d["metadata"]["name"] == reference["name"]]
        if not target:
            yield f"{_title(item)}: there is no {reference['kind']} {reference['name']}"
        for deployment in target:
            if "replicas" in deployment["spec"]:
                yield f"{_title(deployment)}: replicas would undo what {_title(item)} decides"
        names = [metric["type"] for metric in spec.get("metrics", [])]
        if "Resource" in names and any(
            "cpu" not in container.get("resources", {}).get("requests", {})
            for pod in rendering.pods
            for container in pod.containers
        ):
            yield f"{_title(item)}: a share of the CPU needs a CPU request in every container"
        least, most = (
            spec.get("minReplicas", spec.get("minReplicaCount")),
            spec.get("maxReplicas", spec.get("maxReplicaCount")),
        )
        if not 1 <= least <= most:
            yield f"{_title(item)}: want 1 <= least <= most replicas, came {least} and {most}"
    if len(rendering.of("HorizontalPodAutoscaler")) + len(rendering.of("ScaledObject")) > 1:
        yield "two autoscalers for one Deployment"


def references_exist(rendering: Rendering) -> Iterator[str]:
    for pod in rendering.pods:
        for kind, name in _references(pod):
            if not rendering.has(kind, name) and (kind, name) not in ELSEWHERE:
                yield f"{pod.owner}: there is no {kind} {name}"
        volumes = {volume["name"] for volume in pod.spec.get("volumes", [])}
        mounted = {
            mount["name"] for container in pod.containers for mount in container.get("volumeMounts", [])
        }
        for name in sorted(volumes ^ mounted):
            what = "is mounted but is no volume" if name in mounted else "is a volume that nothing mounts"
            yield f"{pod.owner}: {name!r} {what}"


def containers_are_restricted(rendering: Rendering) -> Iterator[str]:
    """Pod Security Standard `restricted`, a read-only root and limits."""
    for pod in rendering.pods:
        security = pod.spec.get("securityContext", {})
        if (
            not security.get("runAsNonRoot")
            or security.get("seccompProfile", {}).get("type") != "RuntimeDefault"
        ):
            yield f"{pod.owner}: want runAsNonRoot and seccompProfile RuntimeDefault"
        if pod.spec.get("automountServiceAccountToken") is not False:
            yield f"{pod.owner}: want automountServiceAccountToken: false"
        if pod.spec.get("enableServiceLinks") is not False:
            yield f"{pod.owner}: want enableServiceLinks: false, Services would set VAE_ variables"
        for container in pod.containers:
            own = container.get("securityContext", {})
            if (
                own.get("allowPrivilegeEscalation") is not False
                or own.get("readOnlyRootFilesystem") is not True
                or own.get("capabilities", {}).get("drop") != ["ALL"]
            ):
                yield f"{pod.owner}: {container['name']}: want no escalation, a read-only root, no capabilities"
            if {"cpu", "memory"} - set(container.get("resources", {}).get("limits", {})):
                yield f"{pod.owner}: {container['name']}: want limits for cpu and memory"


def images_are_pinned(rendering: Rendering) -> Iterator[str]:
    for pod in rendering.pods:
        for container in pod.containers:
            _, _, tag = container["image"].rpartition("/")[2].partition(":")
            if not tag or tag == "latest":
                yield f"{pod.owner}: image {container['image']}: want a tag other than latest"


def settings_are_the_servers(rendering: Rendering) -> Iterator[str]:
    """Every VAE_ variable is a setting, with a value it takes."""
    for pod in rendering.pods:
        for container in pod.containers:
            values = settings_of(rendering, container)
            unknown = {
                name for name in values if name.removeprefix(PREFIX).lower() not in Settings.model_fields
            }
            if unknown:
                yield f"{pod.owner}: no setting of the server: {', '.join(sorted(unknown))}"
                continue
            given = {name.removeprefix(PREFIX).lower(): v for name, v in values.items() if v is not None}
            try:
                Settings.model_validate(given)
            except ValueError as exc:
                yield f"{pod.owner}: {exc}"


def servers_fit_their_limits(rendering: Rendering) -> Iterator[str]:
    """Threads follow the CPU limit, listening ports are the container's, and stopping has the time it needs."""
    for pod in rendering.pods:
        for container in filter(_is_server, pod.spec["containers"]):
            environment = {entry["name"]: entry for entry in container["env"]}
            threads = environment.get("VAE_THREADS", {}).get("valueFrom", {}).get("resourceFieldRef", {})
            if (threads.get("resource"), threads.get("containerName")) != ("limits.cpu", container["name"]):
                yield f"{pod.owner}: want VAE_THREADS from the container's own limits.cpu"
            if not str(container["resources"]["limits"]["cpu"]).isdigit():
                yield f"{pod.owner}: want a whole number of CPUs, one a thread"
            values = settings_of(rendering, container)
            own = {port["containerPort"] for port in container["ports"]}
            listening = ["VAE_ADDRESS", "VAE_METRICS_ADDRESS"]
            if pod.owner.startswith("InferenceService"):  # where only the served port may be named
                listening.remove("VAE_METRICS_ADDRESS")
            for name in listening:
                host, _, port = str(values.get(name, ":0")).rpartition(":")
                if host not in ("0.0.0.0", "[::]") or int(port) not in own:
                    yield f"{pod.owner}: {name} {values.get(name)}: want all interfaces and one of the ports {own}"
            drain, grace = (float(values.get(name) or "inf") for name in ("VAE_DRAIN_S", "VAE_GRACE_S"))
            stopping = _pre_stop_s(container) + drain + grace
            budget = pod.spec.get("terminationGracePeriodSeconds", 30)
            if not 0 < stopping < budget or not _pre_stop_s(container):
                yield f"{pod.owner}: stopping takes up to {stopping:g} s, want that and a preStop below {budget} s"
            startup = container["startupProbe"]
            if startup.get("periodSeconds", 10) * startup.get("failureThreshold", 3) < 120:
                yield f"{pod.owner}: want at least two minutes for loading and warming up"


def settings_of(rendering: Rendering, container: Object) -> dict[str, str | None]:
    """The VAE_ variables of a container; None where the value is known only in the cluster."""
    values: dict[str, str | None] = {}
    for source in container.get("envFrom", []):
        for item in rendering.of("ConfigMap"):
            if item["metadata"]["name"] == source.get("configMapRef", {}).get("name"):
                values |= item["data"]
    values |= {entry["name"]: entry.get("value") for entry in container.get("env", [])}
    return {name: value for name, value in values.items() if name.startswith(PREFIX)}


ALL: tuple[Check, ...] = (
    names_are_unique,
    selectors_find_pods,
    ports_exist,
    monitors_find_services,
    probes_ask_what_the_server_knows,
    autoscalers_have_targets,
    references_exist,
    containers_are_restricted,
    images_are_pinned,
    settings_are_the_servers,
    servers_fit_their_limits,
)


def _title(item: Object) -> str:
    return f"{item['kind']} {item['metadata']['name']}"


def _pods(item: Object) -> Iterator[Pod]:
    match item["kind"]:
        case "Deployment" | "Job":
            templates = [item["spec"]["template"]]
        case "PyTorchJob":
            templates = [replica["template"] for replica in item["spec"]["pytorchReplicaSpecs"].values()]
        case "InferenceService":
            templates = [{"metadata": item["metadata"], "spec": item["spec"]["predictor"]}]
        case _:
            templates = []
    for template in templates:
        yield Pod(_title(item), template["metadata"].get("labels", {}), template["spec"])


def _pod_selector(item: Object) -> dict[str, str] | None:
    """The labels by which an object finds pods, or None if it looks for none."""
    selector: Any
    match item["kind"]:
        case "Service":
            selector = item["spec"]["selector"]
        case "PodDisruptionBudget":
            selector = item["spec"]["selector"]["matchLabels"]
        case "NetworkPolicy":
            selector = item["spec"]["podSelector"]["matchLabels"]
        case _:
            return None
    return dict(selector)


def _ports(pod: Pod) -> set[int | str]:
    ports = [port for container in pod.containers for port in container.get("ports", [])]
    return {port["containerPort"] for port in ports} | {port["name"] for port in ports}


def _is_server(container: Object) -> bool:
    """The container that runs vae-serve, and not an init container that borrows its image."""
    return container["image"].rpartition("/")[2].startswith("vaeserve:") and "command" not in container


def _pre_stop_s(container: Object) -> float:
    return float(container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0))


def _references(pod: Pod) -> Iterator[tuple[str, str]]:
    if name := pod.spec.get("serviceAccountName"):
        yield "ServiceAccount", name
    for volume in pod.spec.get("volumes", []):
        if "configMap" in volume:
            yield "ConfigMap", volume["configMap"]["name"]
        if "persistentVolumeClaim" in volume:
            yield "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]
    for container in pod.containers:
        for source in container.get("envFrom", []):
            if "configMapRef" in source:
                yield "ConfigMap", source["configMapRef"]["name"]
        for entry in container.get("env", []):
            secret = entry.get("valueFrom", {}).get("secretKeyRef", {})
            if secret and not secret.get("optional"):
                yield "Secret", secret["name"]
