"""The objects of one rendering, and the pods that they make."""

from collections.abc import Iterator
from dataclasses import dataclass

from serving.settings import PREFIX
from tests.deploy import kserve
from tests.deploy.rendering import Object


@dataclass(frozen=True)
class Pod:
    """A pod template with the object it comes from."""

    owner: str
    labels: dict[str, str]
    spec: Object
    mode: str = ""
    """Of KServe's, where it is KServe that makes the pod."""

    @property
    def containers(self) -> list[Object]:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]


class Rendering:
    """The objects of one ``kubectl kustomize``."""

    def __init__(self, objects: list[Object]) -> None:
        self.objects = objects
        self.pods = [pod for item in objects for pod in _pods(item, objects)]

    def of(self, kind: str) -> list[Object]:
        return [item for item in self.objects if item["kind"] == kind]

    def has(self, kind: str, name: str) -> bool:
        return any(item["metadata"]["name"] == name for item in self.of(kind))

    def selected(self, labels: dict[str, str]) -> list[Pod]:
        return [pod for pod in self.pods if labels.items() <= pod.labels.items()]


def settings_of(rendering: Rendering, container: Object) -> dict[str, str | None]:
    """The VAE_ variables of a container; None where the value is known only in the cluster."""
    values = variables_of(rendering, container)
    return {name: value for name, value in values.items() if name.startswith(PREFIX)}


def variables_of(rendering: Rendering, container: Object) -> dict[str, str | None]:
    """All of them."""
    values: dict[str, str | None] = {}
    for source in container.get("envFrom", []):
        for item in rendering.of("ConfigMap"):
            if item["metadata"]["name"] == source.get("configMapRef", {}).get("name"):
                values |= item["data"]
    return values | {entry["name"]: entry.get("value") for entry in container.get("env", [])}


def ports_of(pod: Pod) -> set[int | str]:
    """By number and by name. A port needs no name to be reached by its number, and KServe wants but those it serves."""
    listening: set[int | str] = set()
    if pod.mode:
        entries = [entry for container in pod.containers for entry in container.get("env", [])]
        addresses = [entry["value"] for entry in entries if entry["name"].endswith("ADDRESS")]
        listening = {int(address.rpartition(":")[2]) for address in addresses}
    ports = [port for container in pod.containers for port in container.get("ports", [])]
    return listening | {port["containerPort"] for port in ports} | {port["name"] for port in ports}


def is_server(container: Object) -> bool:
    """The container that runs vae-serve, and not an init container that borrows its image."""
    return container["image"].rpartition("/")[2].startswith("vaeserve:") and "command" not in container


def title_of(item: Object) -> str:
    return f"{item['kind']} {item['metadata']['name']}"


def _pods(item: Object, objects: list[Object]) -> Iterator[Pod]:
    mode = ""
    match item["kind"]:
        case "Deployment" | "Job":
            templates = [item["spec"]["template"]]
        case "PyTorchJob":
            templates = [replica["template"] for replica in item["spec"]["pytorchReplicaSpecs"].values()]
        case "InferenceService":
            mode = kserve.mode_of(item)
            labels = item["metadata"].get("labels", {}) | {kserve.LABEL: item["metadata"]["name"]}
            templates = [{"metadata": {"labels": labels}, "spec": kserve.pod_of(item, objects)}]
        case _:
            templates = []
    for template in templates:
        yield Pod(title_of(item), template["metadata"].get("labels", {}), template["spec"], mode)
