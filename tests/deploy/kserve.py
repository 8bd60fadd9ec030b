"""What KServe makes of an InferenceService and its ServingRuntime, and what its webhooks and Knative's refuse.

Sources, of KServe 0.20: ``pkg/controller/v1beta1/inferenceservice/components/predictor.go`` (the merging),
``.../reconcilers/service/service_reconciler.go`` (the first port is the served one), ``.../knative/ksvc_reconciler.go``
(canaryTrafficPercent), ``pkg/apis/serving/v1beta1`` (which runtime fits); of Knative Serving:
``pkg/apis/serving/k8s_validation.go`` and ``fieldmask.go``, with the features that are on by default.
"""

from collections.abc import Iterator
from typing import Any

from serving.settings import PREFIX

Object = dict[str, Any]

CONTAINER = "kserve-container"
LABEL = "serving.kserve.io/inferenceservice"
"""On every pod, with the name of the InferenceService."""
MODELS = "/mnt/models"
STANDARD, KNATIVE = "Standard", "Knative"
KNATIVE_GRACE_S = 300
"""Seconds that Knative gives a pod to stop: as long as a request may take, unless timeoutSeconds says otherwise."""
_MODE = "serving.kserve.io/deploymentMode"
_SERVED_BY = {"v2": "HTTP_ADDRESS", "grpc-v2": "ADDRESS"}
"""Protocol → the setting with the port that speaks it."""
_MERGED_BY = {"env": "name", "volumeMounts": "mountPath", "ports": "containerPort", "volumes": "name"}
"""Lists that are merged, and what tells their elements apart; other lists are replaced."""
_OF_THE_MODEL = {"modelFormat", "runtime", "protocolVersion", "storageUri", "storage", "runtimeVersion"}
_OF_THE_COMPONENT = {
    "model", "minReplicas", "maxReplicas", "scaleMetric", "scaleTarget", "canaryTrafficPercent", "timeoutSeconds",
    "containerConcurrency",
}  # fmt: skip
_OF_THE_RUNTIME = {"containers", "volumes", "nodeSelector", "affinity", "tolerations", "imagePullSecrets"}
_KNATIVE_PODS = {"serviceAccountName", "containers", "volumes", "imagePullSecrets", "enableServiceLinks",
                 "automountServiceAccountToken"}  # fmt: skip
_KNATIVE_METRICS, _STANDARD_METRICS = {"concurrency", "rps"}, {"cpu", "memory"}


def pod_of(service: Object, objects: list[Object]) -> Object:
    """The pod that KServe would run for an InferenceService."""
    predictor = service["spec"]["predictor"]
    model = predictor["model"]
    runtime = runtime_of(service, objects) or {"containers": []}
    none = {"name": CONTAINER, "image": ""}
    base = next((container for container in runtime["containers"] if container["name"] == CONTAINER), none)
    patch = {key: value for key, value in model.items() if key not in _OF_THE_MODEL}
    container = _merged(base, patch)
    container["args"] = [*base.get("args", []), *patch.get("args", [])]
    pod = {key: runtime[key] for key in _OF_THE_RUNTIME & set(runtime)}
    own = {key: value for key, value in predictor.items() if key not in _OF_THE_COMPONENT}
    pod = _merged(pod, own) | {"containers": [container]}
    return _merged(pod, {"volumes": [_storage(model["storageUri"], container)]})


def _storage(uri: str, container: Object) -> Object:
    """The volume with the model, a claim or what an init container downloads into; mounts it."""
    scheme, _, rest = uri.partition("://")
    volume: Object = {"name": "kserve-provision-location", "emptyDir": {}}
    if scheme == "pvc":
        claim = {"claimName": rest.partition("/")[0], "readOnly": True}
        volume = {"name": "kserve-pvc-source", "persistentVolumeClaim": claim}
    mount = {"name": volume["name"], "mountPath": MODELS, "readOnly": True}
    container["volumeMounts"] = [*container.get("volumeMounts", []), mount]
    return volume


def mode_of(service: Object) -> str:
    """Empty where it is left to the cluster's configuration."""
    return str(service["metadata"].get("annotations", {}).get(_MODE, ""))


def runtime_of(service: Object, objects: list[Object]) -> Object | None:
    """The ``spec`` of the ServingRuntime that it names, if there is one among the objects."""
    name = service["spec"]["predictor"]["model"].get("runtime")
    for item in objects:
        if item["kind"] == "ServingRuntime" and item["metadata"]["name"] == name:
            return dict(item["spec"])
    return None


def problems(service: Object, objects: list[Object]) -> Iterator[str]:
    """What no schema says of an InferenceService."""
    model = service["spec"]["predictor"]["model"]
    runtime = runtime_of(service, objects)
    if runtime is None:
        yield f"there is no ServingRuntime {model.get('runtime')}"
        return
    if CONTAINER not in [container["name"] for container in runtime["containers"]]:
        yield f"its runtime has no container {CONTAINER}, the only one that KServe makes the server of"
        return
    wanted = model["modelFormat"]
    formats = [{key: each.get(key) for key in wanted} for each in runtime.get("supportedModelFormats", [])]
    if wanted not in formats:
        yield f"its runtime takes the formats {formats}, not {wanted}"
    protocol = model.get("protocolVersion", "v1")
    spoken = runtime.get("protocolVersions", [])
    if protocol not in spoken:
        yield f"its runtime speaks {', '.join(spoken) or 'nothing'}, not {protocol}"
    pod = pod_of(service, objects)
    yield from _served_port(pod["containers"][0], protocol)
    if {"name": f"{PREFIX}REPOSITORY", "value": MODELS} not in pod["containers"][0]["env"]:
        yield f"want {PREFIX}REPOSITORY {MODELS}, where KServe puts the model"
    mode = mode_of(service)
    if mode == STANDARD:
        yield from _standard(service)
    elif mode == KNATIVE:
        yield from _knative(service, pod)
    else:
        yield f"{_MODE}: want {STANDARD} or {KNATIVE}, came {mode!r}"


def _served_port(container: Object, protocol: str) -> Iterator[str]:
    """KServe serves the first port, and takes it for gRPC if its name says so."""
    first, *_ = container.get("ports") or [{"name": "http1", "containerPort": 8080}]
    settings = {entry["name"]: entry.get("value", "") for entry in container["env"]}
    speaks = settings.get(f"{PREFIX}{_SERVED_BY.get(protocol, '')}", "").rpartition(":")[2]
    if str(first["containerPort"]) != speaks:
        yield f"its first port is {first['containerPort']}, {protocol} is spoken on {speaks or 'none'}"
    if _is_grpc(first) != protocol.startswith("grpc"):
        yield f"its first port is called {first['name']!r}, by which KServe tells gRPC: the protocol is {protocol}"
    for port in [port for port in container.get("ports", []) if not _is_grpc(port)][:1]:
        if str(port["containerPort"]) != settings.get(f"{PREFIX}HTTP_ADDRESS", "").rpartition(":")[2]:
            yield f"Gateway API would send what is not gRPC to port {port['name']}: want the HTTP door, or no such port"


def _is_grpc(port: Object) -> bool:
    return "h2c" in port["name"] or "grpc" in port["name"]


def _standard(service: Object) -> Iterator[str]:
    predictor = service["spec"]["predictor"]
    if "canaryTrafficPercent" in predictor or "canary" in service["spec"]:
        yield f"in the mode {STANDARD} KServe 0.20 sends a canary no traffic: want the mode {KNATIVE}"
    if predictor.get("scaleMetric", "cpu") not in _STANDARD_METRICS:
        yield f"scaleMetric {predictor['scaleMetric']}: want {' or '.join(sorted(_STANDARD_METRICS))}"


def _knative(service: Object, pod: Object) -> Iterator[str]:
    metric = service["spec"]["predictor"].get("scaleMetric", "concurrency")
    if metric not in _KNATIVE_METRICS:
        yield f"scaleMetric {metric}: want {' or '.join(sorted(_KNATIVE_METRICS))}"
    (container,) = pod["containers"]
    ports = container.get("ports", [])
    if len(ports) > 1 or any(port["name"] not in ("http1", "h2c") for port in ports):
        yield f"Knative wants one port, called http1 or h2c, came {[port['name'] for port in ports]}"
    for field in sorted(set(pod) - _KNATIVE_PODS):
        yield f"Knative refuses {field} of a pod"
    if "lifecycle" in container:
        yield "Knative refuses lifecycle of a container"
    for entry in container["env"]:
        if {"fieldRef", "resourceFieldRef"} & set(entry.get("valueFrom", {})):
            yield f"Knative refuses a reference to fields: {entry['name']}"


def _merged(base: Object, patch: Object) -> Object:
    """A strategic merge, as Kubernetes does it for containers and pods."""
    result = dict(base)
    for key, value in patch.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            result[key] = _merged(base[key], value)
        elif key in _MERGED_BY and key in base:
            name = _MERGED_BY[key]
            elements = {element[name]: element for element in base[key]}
            for element in value:
                elements[element[name]] = _merged(elements.get(element[name], {}), element)
            result[key] = [*elements.values()]
        else:
            result[key] = value
    return result
