"""What schemas cannot say: whether the objects of one rendering, and the server, fit each other.

Each check yields one line a mistake. ``ALL`` is the list of them.
"""

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from serving.pb.vae.v1 import vae_service_pb2
from serving.settings import PREFIX, Settings
from tests.deploy import kserve
from tests.deploy.pods import Pod, Rendering, is_server, ports_of, settings_of, title_of, variables_of
from tests.deploy.rendering import Object

HEALTH_PATHS = ("/v2/health/live", "/v2/health/ready")
"""Of the Open Inference Protocol; the server answers them with 200 or 503, whoever asks."""
HEALTH_SERVICES = ("", vae_service_pb2.DESCRIPTOR.services_by_name["VaeService"].full_name)
"""Names that the server's health service always knows; a model's name would tie a probe to a model."""
ELSEWHERE = {
    ("PersistentVolumeClaim", "vaeserve-models"),
    ("PersistentVolumeClaim", "vaeserve-runs"),
    ("PersistentVolumeClaim", "vaeserve-data"),
}
"""What a rendering may refer to because another one brings it."""


Check = Callable[[Rendering], Iterator[str]]


def problems(objects: list[Object]) -> list[str]:
    rendering = Rendering(objects)
    return [problem for check in ALL for problem in check(rendering)]


def names_are_unique(rendering: Rendering) -> Iterator[str]:
    seen = set()
    for item in rendering.objects:
        key = (item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"])
        if key in seen:
            yield f"{title_of(item)}: there are two of it"
        seen.add(key)
        if item["kind"] != "Namespace" and "namespace" not in item["metadata"]:
            yield f"{title_of(item)}: want a namespace"


def selectors_find_pods(rendering: Rendering) -> Iterator[str]:
    for item in rendering.objects:
        if item["kind"] == "Deployment":
            labels = item["spec"]["template"]["metadata"].get("labels", {})
            if not item["spec"]["selector"]["matchLabels"].items() <= labels.items():
                yield f"{title_of(item)}: its selector is not among the labels of its own pods {labels}"
        elif (selector := _pod_selector(item)) is not None and not rendering.selected(selector):
            yield f"{title_of(item)}: no pod has the labels {selector}"
    for pod in rendering.pods:
        for spread in pod.spec.get("topologySpreadConstraints", []):
            if not spread["labelSelector"]["matchLabels"].items() <= pod.labels.items():
                yield f"{pod.owner}: topology spread over {spread['topologyKey']} does not select its own pods"


def ports_exist(rendering: Rendering) -> Iterator[str]:
    for item in rendering.of("Service"):
        for port in item["spec"]["ports"]:
            target = port.get("targetPort", port["port"])
            for pod in rendering.selected(item["spec"]["selector"]):
                if target not in ports_of(pod):
                    yield f"{title_of(item)}: port {port.get('name')}: {pod.owner} has no port {target!r}"
    for item in rendering.of("NetworkPolicy"):
        for pod in rendering.selected(item["spec"]["podSelector"].get("matchLabels", {})):
            for rule in item["spec"].get("ingress", []):
                for port in rule.get("ports", []):
                    if port["port"] not in ports_of(pod):
                        yield f"{title_of(item)}: {pod.owner} has no port {port['port']!r}"


def policies_treat_both_doors_alike(rendering: Rendering) -> Iterator[str]:
    """Whoever may call by one door may call by the other; scrapes are others' business."""
    for item in rendering.of("NetworkPolicy"):
        for rule in item["spec"].get("ingress", []):
            named = {port["port"] for port in rule.get("ports", [])}
            if len({"grpc", "http"} & named) == 1:
                yield f"{title_of(item)}: want grpc and http in one rule, came {', '.join(sorted(named))}"
            if not rule.get("from") or not named:
                yield f"{title_of(item)}: a rule without {'ports' if rule.get('from') else 'from'} lets everybody in"


def traces_have_a_way_out(rendering: Rendering) -> Iterator[str]:
    """Where policies hold: to the port of the collector, and to where its name is asked for."""
    for pod in rendering.pods:
        policies = [
            item["spec"]
            for item in rendering.of("NetworkPolicy")
            if item["spec"]["podSelector"]["matchLabels"].items() <= pod.labels.items()
        ]
        ways = {
            (port["port"], port.get("protocol", "TCP"))
            for spec in policies
            for rule in spec.get("egress", [])
            for port in rule.get("ports", [])
        }
        for container in filter(is_server, pod.spec["containers"]):
            values = variables_of(rendering, container)
            if values.get("VAE_TRACING") != "on" or not policies:
                continue
            collector = urlsplit(str(values.get("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318")))
            for wanted in ((53, "UDP"), (collector.port, "TCP")):
                if wanted not in ways:
                    yield f"{pod.owner}: traces go to {collector.geturl()}: no policy lets out to {wanted}"


def services_offer_both_doors(rendering: Rendering) -> Iterator[str]:
    """With the protocol that proxies are to speak: HTTP/2 by prior knowledge to gRPC."""
    wanted = {"grpc": "kubernetes.io/h2c", "http": "http"}
    for item in rendering.of("Service"):
        offered = {port.get("name"): port.get("appProtocol") for port in item["spec"]["ports"]}
        if not wanted.keys() & offered:  # for scrapes alone
            continue
        for name, protocol in wanted.items():
            if offered.get(name) != protocol:
                yield f"{title_of(item)}: want a port {name} with appProtocol {protocol}, came {offered.get(name)}"


def kserve_takes_it(rendering: Rendering) -> Iterator[str]:
    for item in rendering.of("InferenceService"):
        for problem in kserve.problems(item, rendering.objects):
            yield f"{title_of(item)}: {problem}"


def monitors_find_services(rendering: Rendering) -> Iterator[str]:
    """Only where both are in one rendering; ``test_manifests`` joins the two."""
    for item in rendering.of("ServiceMonitor"):
        wanted = item["spec"]["selector"]["matchLabels"]
        found = [
            s for s in rendering.of("Service") if wanted.items() <= s["metadata"].get("labels", {}).items()
        ]
        if rendering.of("Service") and len(found) != 1:
            yield f"{title_of(item)}: want one Service with the labels {wanted}, found {len(found)}"
        for service in found:
            named = {port.get("name") for port in service["spec"]["ports"]}
            for endpoint in item["spec"]["endpoints"]:
                if endpoint["port"] not in named:
                    yield f"{title_of(item)}: {title_of(service)} has no port named {endpoint['port']!r}"


def probes_ask_what_the_server_knows(rendering: Rendering) -> Iterator[str]:
    for pod in rendering.pods:
        for container in pod.containers:
            for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
                probe = container.get(kind)
                if not probe:
                    if is_server(container):
                        yield f"{pod.owner}: {container['name']}: want a {kind}"
                    continue
                asked = probe.get("grpc") or probe.get("httpGet") or {}
                if asked.get("port") not in ports_of(pod):
                    yield f"{pod.owner}: {kind}: no container has the port {asked.get('port')}"
                if asked.get("service", "") not in HEALTH_SERVICES:
                    yield f"{pod.owner}: {kind}: the server knows no health service {asked['service']!r}"
                if asked.get("path", HEALTH_PATHS[0]) not in HEALTH_PATHS:
                    yield f"{pod.owner}: {kind}: the server answers no {asked['path']!r}"
                if kind == "livenessProbe" and asked.get("path") == HEALTH_PATHS[1]:
                    yield f"{pod.owner}: {kind}: a server that is not ready is not to be killed"


def autoscalers_have_targets(rendering: Rendering) -> Iterator[str]:
    for item in [*rendering.of("HorizontalPodAutoscaler"), *rendering.of("ScaledObject")]:
        spec = item["spec"]
        reference = {"kind": "Deployment", **spec["scaleTargetRef"]}
        target = [d for d in rendering.of(reference["kind"]) if d["metadata"]["name"] == reference["name"]]
        if not target:
            yield f"{title_of(item)}: there is no {reference['kind']} {reference['name']}"
        for deployment in target:
            if "replicas" in deployment["spec"]:
                yield f"{title_of(deployment)}: replicas would undo what {title_of(item)} decides"
        names = [metric["type"] for metric in spec.get("metrics", [])]
        if "Resource" in names and any(
            "cpu" not in container.get("resources", {}).get("requests", {})
            for pod in rendering.pods
            for container in pod.containers
        ):
            yield f"{title_of(item)}: a share of the CPU needs a CPU request in every container"
        least, most = (
            spec.get("minReplicas", spec.get("minReplicaCount")),
            spec.get("maxReplicas", spec.get("maxReplicaCount")),
        )
        if not 1 <= least <= most:
            yield f"{title_of(item)}: want 1 <= least <= most replicas, came {least} and {most}"
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
        if pod.spec.get("automountServiceAccountToken") is not False:
            yield f"{pod.owner}: want automountServiceAccountToken: false"
        if pod.spec.get("enableServiceLinks") is not False:
            yield f"{pod.owner}: want enableServiceLinks: false, Services would set VAE_ variables"
        for container in pod.containers:
            own = security | container.get("securityContext", {})
            if not own.get("runAsNonRoot") or own.get("seccompProfile", {}).get("type") != "RuntimeDefault":
                yield f"{pod.owner}: {container['name']}: want runAsNonRoot and seccompProfile RuntimeDefault"
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
        for container in filter(is_server, pod.spec["containers"]):
            values = settings_of(rendering, container)
            found = [
                *_threads(pod, container),
                *_listening(pod, container, values),
                *_stopping(pod, container, values),
            ]
            yield from (f"{pod.owner}: {problem}" for problem in found)
            startup = container["startupProbe"]
            if startup.get("periodSeconds", 10) * startup.get("failureThreshold", 3) < 120:
                yield f"{pod.owner}: want at least two minutes for loading and warming up"


def _threads(pod: Pod, container: Object) -> Iterator[str]:
    environment = {entry["name"]: entry for entry in container["env"]}
    threads = environment.get("VAE_THREADS", {}).get("valueFrom", {}).get("resourceFieldRef", {})
    follows = (threads.get("resource"), threads.get("containerName")) == ("limits.cpu", container["name"])
    if not follows and not (pod.mode and "VAE_THREADS" not in environment):  # unset, it is the quota's CPUs
        yield "want VAE_THREADS from the container's own limits.cpu"
    if not str(container["resources"]["limits"]["cpu"]).isdigit():
        yield "want a whole number of CPUs, one a thread"


def _listening(pod: Pod, container: Object, values: dict[str, str | None]) -> Iterator[str]:
    own = {port["containerPort"] for port in container["ports"]}
    for name in ("VAE_ADDRESS", "VAE_HTTP_ADDRESS", "VAE_METRICS_ADDRESS"):
        host, _, port = str(values.get(name, ":0")).rpartition(":")
        if host not in ("0.0.0.0", "[::]"):
            yield f"{name} {values.get(name)}: want all interfaces"
        if int(port) not in own and not pod.mode:  # KServe serves every port that is named
            yield f"{name} {values.get(name)}: want one of the ports {own}"


def _stopping(pod: Pod, container: Object, values: dict[str, str | None]) -> Iterator[str]:
    drain, grace = (float(values.get(name) or "inf") for name in ("VAE_DRAIN_S", "VAE_GRACE_S"))
    first = float(container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0))
    budget = pod.spec.get("terminationGracePeriodSeconds", 30)
    if pod.mode == kserve.KNATIVE:  # its proxy lets requests end before the server is told
        first, budget = 1.0, kserve.KNATIVE_GRACE_S
    if not 0 < first + drain + grace < budget or not first:
        yield f"stopping takes up to {first + drain + grace:g} s, want that and a preStop below {budget} s"


ALL: tuple[Check, ...] = (
    names_are_unique,
    selectors_find_pods,
    ports_exist,
    policies_treat_both_doors_alike,
    traces_have_a_way_out,
    services_offer_both_doors,
    kserve_takes_it,
    monitors_find_services,
    probes_ask_what_the_server_knows,
    autoscalers_have_targets,
    references_exist,
    containers_are_restricted,
    images_are_pinned,
    settings_are_the_servers,
    servers_fit_their_limits,
)


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
