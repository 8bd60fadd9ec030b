import json
import os

import pytest

from serving import bundle
from serving.bundle import BundleError
from tests.support import toy


def rewrite(root, change):
    """Change the manifest as an attacker or a careless hand would."""
    path = root / bundle.MANIFEST
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def test_what_was_sealed_is_read_back(tmp_path):
    """Reading gives the same manifest, digest and bytes as sealing did."""
    sealed = toy.make_bundle(tmp_path)
    again = bundle.read(sealed.root)
    assert again == sealed
    assert len(again.digest) == 64
    assert again.content("decoder.onnx")


def test_an_existing_version_is_never_overwritten(tmp_path):
    """A sealed version is immutable; the next one gets the next number."""
    toy.make_bundle(tmp_path, version=3)
    with pytest.raises(BundleError, match="exists already"):
        toy.make_bundle(tmp_path, version=3)
    assert bundle.target_path(tmp_path, "toy").name == "4"
    assert bundle.target_path(tmp_path, "new").name == "1"


def test_a_failure_while_sealing_leaves_nothing(tmp_path):
    """No version folder and no partial folder stays behind when the bundle does not verify."""
    sealed = toy.make_bundle(tmp_path)
    body = bundle.ManifestBody(**{**sealed.manifest.model_dump(exclude={"files"}), "version": 2})
    with pytest.raises(ValueError, match=r"missing decoder\.onnx"):
        bundle.seal(tmp_path / "toy" / "2", body, {"encoder.onnx": b"x", "pools.safetensors": b"y"})
    assert os.listdir(tmp_path / "toy") == ["1"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        pytest.param(lambda r: (r / "encoder.onnx").unlink(), r"encoder\.onnx: cannot be read", id="missing"),
        pytest.param(
            lambda r: (r / "encoder.onnx").write_bytes((r / "encoder.onnx").read_bytes()[:-1]),
            r"encoder\.onnx: want \d+ bytes, came \d+",
            id="truncated",
        ),
        pytest.param(
            lambda r: (r / "encoder.onnx").write_bytes(b"\0" + (r / "encoder.onnx").read_bytes()[1:]),
            r"encoder\.onnx: want sha256 \w+…, came \w+…",
            id="altered",
        ),
        pytest.param(lambda r: (r / "manifest.json").unlink(), r"manifest\.json: cannot be read", id="no manifest"),
        pytest.param(lambda r: (r / "manifest.json").write_text("{"), "not JSON", id="not JSON"),
        pytest.param(
            lambda r: rewrite(r, lambda d: d.update(format=3, novelty=1)),
            "format 3, this server reads formats 1 to 2; upgrade",
            id="newer format",
        ),
        pytest.param(lambda r: rewrite(r, lambda d: d.pop("format")), "integer 'format'", id="no format"),
        pytest.param(lambda r: rewrite(r, lambda d: d.pop("likelihood")), "likelihood: Field required", id="missing key"),
        pytest.param(lambda r: rewrite(r, lambda d: d.update(extra=1)), "extra: Extra inputs", id="unknown key"),
        pytest.param(
            lambda r: rewrite(r, lambda d: d["files"].update({"../../etc/passwd": d["files"]["encoder.onnx"]})),
            "relative path inside the bundle",
            id="path out of the bundle",
        ),
    ],
)  # fmt: skip
def test_a_spoilt_bundle_is_refused(tmp_path, spoil, message):
    """Whatever was changed after sealing, reading names it in one line."""
    root = toy.make_bundle(tmp_path).root
    spoil(root)
    with pytest.raises(BundleError, match=message) as refusal:
        bundle.read(root)
    assert "\n" not in str(refusal.value)


def test_pools_must_fit_the_manifest(tmp_path):
    """Tensors of other shapes than the manifest's are refused by name."""
    content = toy.make_bundle(tmp_path).content("pools.safetensors")
    with pytest.raises(
        BundleError, match=r"pools\.safetensors: weight: want float32 \(4,\), came float32 \(3,\)"
    ):
        bundle.Pools.from_bytes(content, pools=4, latents=toy.LATENTS)
    with pytest.raises(BundleError, match="not a safetensors file"):
        bundle.Pools.from_bytes(b"nonsense", pools=3, latents=toy.LATENTS)
