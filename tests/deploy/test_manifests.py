"""The Kubernetes manifests: schemas, types, and whether the objects fit each other and the server."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy import kserve_schemas, manifests, rendering, tools
from tests.deploy.pods import Rendering


@pytest.fixture(scope="module")
def rendered() -> dict[str, list[rendering.Object]]:
    """Every kustomization, as kubectl would apply it."""
    return {name: rendering.render(tools.ROOT, name) for name in rendering.KUSTOMIZATIONS}


@pytest.fixture(scope="module")
def everything(rendered) -> list[rendering.Object]:
    return [item for objects in rendered.values() for item in objects]


@pytest.mark.slow
@pytest.mark.parametrize("version", rendering.KUBERNETES_VERSIONS)
def test_schemas(everything, version, tmp_path):
    """Every object is what the API server of the oldest and the newest Kubernetes takes, with no unknown key."""
    assert not rendering.schema_problems(everything, tmp_path, version)


@pytest.mark.slow
def test_kserve_schemas(everything, tmp_path):
    """Every InferenceService and ServingRuntime is what KServe's own schemas take, with no unknown field."""
    assert not kserve_schemas.problems(everything, tmp_path)


def test_models(everything):
    """Quantities, enumerations and the operator's own kinds are right too."""
    assert not rendering.model_problems(everything)


@pytest.mark.parametrize("name", rendering.KUSTOMIZATIONS)
def test_objects_fit_each_other(rendered, name):
    """Selectors, ports, probes, autoscaler targets, references and settings meet what they are about."""
    assert not manifests.problems(rendered[name])


def test_the_monitor_finds_the_service_of_every_overlay(rendered):
    """ServiceMonitor and Service are rendered apart and must still meet."""
    watched = [name for name in rendering.KUSTOMIZATIONS if name.startswith(("k8s/overlays", "k8s/kserve"))]
    for name in watched:
        joined = Rendering(rendered[name] + rendered["k8s/monitoring"])
        assert not list(manifests.monitors_find_services(joined))


def test_what_comes_from_elsewhere_comes_from_somewhere(everything):
    """A claim that one rendering takes for granted is made by another."""
    made = {(item["kind"], item["metadata"]["name"]) for item in everything}
    assert made >= manifests.ELSEWHERE


def test_every_kustomization_is_checked():
    """A new folder with a kustomization.yaml is checked like the others."""
    found = {
        str(path.parent.relative_to(tools.ROOT)) for path in (tools.ROOT / "k8s").rglob("kustomization.yaml")
    }
    parts = {
        "k8s/base", "k8s/components/keda", "k8s/components/models-fetch", "k8s/components/traces", "k8s/kserve/base",
        "k8s/kserve/standard",
    }  # fmt: skip
    assert found - parts == set(rendering.KUSTOMIZATIONS)


def test_the_operators_rules_are_those_of_compose():
    """prometheusrule.yaml is what `make monitoring` makes of rules.yml."""
    script = tools.ROOT / "k8s/monitoring/generate.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_adapter_gives_what_the_autoscaler_reads(rendered):
    """The custom metric of the HorizontalPodAutoscaler is the one that prometheus-adapter is told to make."""
    adapter = (tools.ROOT / "k8s/monitoring/prometheus-adapter.yaml").read_text()
    for name in ("k8s/overlays/cpu", "k8s/overlays/gpu"):
        (scaler,) = Rendering(rendered[name]).of("HorizontalPodAutoscaler")
        (metric,) = [m["pods"]["metric"]["name"] for m in scaler["spec"]["metrics"] if m["type"] == "Pods"]
        assert f"as: {metric}\n" in adapter


def test_render_errors_are_named(tmp_path):
    """A kustomization that kubectl cannot make is an error with kubectl's own words."""
    (tmp_path / "kustomization.yaml").write_text("resources: [missing.yaml]\n")
    with pytest.raises(rendering.RenderError, match=r"missing\.yaml"):
        rendering.render(Path("/"), str(tmp_path))
