"""The pod that KServe would make, as a real server: its probes and the call that docs/operations.md shows."""

import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.deploy import kserve, rendering, tools, traffic
from tests.support import process, toy

TOKEN = "of-the-test"


@pytest.fixture(scope="module")
def container() -> rendering.Object:
    """Of the InferenceService for REST, with what its ServingRuntime adds."""
    objects = rendering.render(tools.ROOT, "k8s/kserve/rest")
    (service,) = (item for item in objects if item["kind"] == "InferenceService")
    made: rendering.Object = kserve.pod_of(service, objects)["containers"][0]
    return made


@pytest.fixture
def repository(tmp_path) -> Path:
    toy.make_bundle(tmp_path / "models")
    return tmp_path / "models"


def test_probes_are_answered_without_the_token(container, repository, tmp_path):
    """200 to the kubelet, which has no token, where calls want one."""
    (tmp_path / "token").write_text(TOKEN)
    probes = [container[kind]["httpGet"] for kind in ("startupProbe", "readinessProbe", "livenessProbe")]
    with process.serving(repository, "--auth-token-file", str(tmp_path / "token")) as server:
        for probe in probes:
            with urllib.request.urlopen(f"http://{server.http_address}{probe['path']}") as answer:
                assert answer.status == 200
        with pytest.raises(urllib.error.HTTPError, match="401"):
            traffic.call(server.http_address, "ListModels")


def test_the_settings_of_the_runtime_start_a_server(container, repository, monkeypatch):
    """With its own variables, addresses and folder apart, it starts, is called by the name of a part, and says so."""
    for entry in container["env"]:
        if not entry["name"].endswith(("ADDRESS", "REPOSITORY")):
            monkeypatch.setenv(entry["name"], entry["value"])
    with process.serving(repository) as server:
        asked = {
            "inputs": [
                {"name": "latent", "datatype": "FP32", "shape": [1, toy.LATENTS], "data": [0.0] * toy.LATENTS}
            ]
        }
        answer = traffic.infer(server.http_address, "toy/decoder", asked)
        assert answer["model_name"] == "toy/decoder"
        assert [output["name"] for output in answer["outputs"]] == ["image"]
