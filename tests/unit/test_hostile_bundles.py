"""Whatever a bundle holds is a reason to refuse it, in one line, before it can serve."""

import json
import os
import re
import shutil
from itertools import pairwise

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from serving import bundle
from serving.bundle import BundleError, graph_file
from serving.models.loading import load, read_version
from serving.models.refusals import for_callers
from serving.runtime.providers import Provider
from tests.support import hostile, toy
from tests.support.bundles import reseal
from tests.support.hostile import expand, graph, header, key, node, swapped, tensors

CPU = Provider("cpu", "asked for")
NAN = float("nan")


def loaded(root):
    return load(read_version(root, 1 << 30), CPU, 16)


def refusal(root):
    with pytest.raises(BundleError) as refused:
        loaded(root)
    return refused.value


def words_of(work):
    """Of the refusal; none, if there is none."""
    try:
        work()
    except BundleError as exc:
        return str(exc)
    return ""


FILES = {
    "a FIFO": (swapped("encoder.onnx", os.mkfifo), "encoder.onnx: want a regular file"),
    "a FIFO as manifest": (swapped("manifest.json", os.mkfifo), "manifest.json: want a regular file"),
    "a folder": (swapped("encoder.onnx", os.mkdir), "encoder.onnx: want a regular file"),
    "a device by a link": (swapped("encoder.onnx", lambda p: p.symlink_to("/dev/zero")), "links out of the repository"),
    "a link out of it": (swapped("encoder.onnx", lambda p: p.symlink_to("/etc/passwd")), "links out of the repository"),
    "a link to nothing": (swapped("manifest.json", lambda p: p.symlink_to("nothing")), "cannot be read: No such file"),
    "a link to itself": (swapped("encoder.onnx", lambda p: p.symlink_to(p)), "cannot be read: "),
    "a sparse file": (hostile.grown("encoder.onnx", 1 << 40), "want 1\\d+ bytes, came 1099511627776|came 1099511627776"),
    "gigabytes, as declared": (hostile.declared("extra.bin", 8 << 30), "its files take 85899\\d+ bytes, want at most"),
    "a sparse manifest": (hostile.grown("manifest.json", 1 << 40), "want at most 4194304 bytes, came 1099511627776"),
    "a manifest of blanks": (hostile.text(lambda t: t + " " * (5 << 20)), "want at most 4194304 bytes"),
}  # fmt: skip
MANIFEST = {
    "deep": (hostile.text(lambda t: "[" * 200_000), "nested too deeply"),
    "a deep key": (hostile.text(lambda t: '{"deep": ' + "[" * 900 + "]" * 900 + "," + t[1:]), "recursion|deep"),
    "not an object": (hostile.text(lambda t: "[1]"), "want an object with an integer 'format'"),
    "a format of lists": (key("format", to=[[[1]]]), "integer 'format', came list"),
    "a key twice": (hostile.text(lambda t: '{"format": 1,' + t[1:]), "the key 'format' comes twice"),
    "a file twice": (hostile.text(lambda t: t.replace('"files":{', '"files":{"pools.safetensors":{"size":1},').replace('"files": {', '"files": {"pools.safetensors":{"size":1},')), "'pools.safetensors' comes twice"),
    "NUL in a name": (hostile.file_named("a\0b"), r"file name 'a\\x00b'"),
    "a surrogate": (hostile.file_named("\ud800"), "manifest: Invalid JSON"),
    "a long name": (hostile.file_named("a" * 5000), "want at most 255 printable characters"),
    "a forged line": (hostile.file_named("a\n2026-01-01 INFO forged"), r"a\\n2026"),
    "a forged key": (key("x\n2026-01-01 INFO forged", to=1), r"x\\n2026.*: Extra inputs"),
    "a forged format": (key("format", to="1\nforged"), r"came '1\\nforged'"),
    "NaN": (key("likelihood", "sigma", to=NAN), "likelihood.sigma: Input should be a finite number"),
    "scale 0": (key("latent_scale", to=0.0), "latent_scale: want no number so near to 0"),
    "scale 1e300": (key("latent_scale", to=1e300), "latent_scale: Input should be less than"),
    "scale inf": (key("latent_scale", to=float("inf")), "latent_scale: Input should be a finite number"),
    "a narrow range": (key("image", "value_range", to=[0.0, 5e-324]), "value_range .* in float32"),
    "a wide range": (key("image", "value_range", to=[-1e300, 1e308]), "image.value_range.0: Input should be greater"),
    "2^70 rows": (key("pools", 0, "rows", to=2**70), "pools.0.rows: Input should be less than"),
    "a pool of two lines": (key("pools", 0, "name", to="a\nb"), "pools.0.name: String should match"),
    "many pools": (key("pools", to=[{"name": str(i), "rows": 1, "aggregate": False} for i in range(5000)]), "pools: Tuple should have at most 4096"),
    "a long text": (key("training", "dataset", to="x" * 10_000), "training.dataset: String should have at most 4096"),
    "version 10^30": (key("version", to=10**30), "version: Input should be less than"),
    "a huge image": (key("image", "shape", to=[1, 200_000, 200_000]), "image.shape: want at most 67108864 values"),
    "another image": (key("image", "shape", to=[1, 6, 4]), "cannot run a batch of 1 rows"),
    "other latents": (key("latent_shape", to=[17]), "the encoder answers 1 rows with"),
}  # fmt: skip
TENSORS = {
    "a header of 2^63 bytes": (header(b"{}", length=1 << 63), "not a safetensors file: its header"),
    "a header of blanks": (header(b"{" + b" " * (2 << 20) + b"}"), "not a safetensors file: its header"),
    "a deep header": (header(b'{"a":' * 50_000), "not a safetensors file"),
    "bfloat16": (hostile.retyped("BF16"), "not a safetensors file"),
    "float8": (hostile.retyped("F8_E4M3"), "not a safetensors file"),
    "no golden rows": (tensors("golden.safetensors", lambda t: {n: v[:0] for n, v in t.items()}), "want at least one row"),
    "golden NaN": (tensors("golden.safetensors", lambda t: t | {"decoded": t["decoded"] * np.float32(NAN)}), "decoded: differs"),
    "a singular factor": (tensors("pools.safetensors", lambda t: t | {"cholesky": t["cholesky"] * 0}), "positive diagonal"),
    "a negative factor": (tensors("pools.safetensors", lambda t: t | {"cholesky": -t["cholesky"]}), "positive diagonal"),
    "a full factor": (tensors("pools.safetensors", lambda t: t | {"cholesky": np.abs(t["cholesky"]) + 1}), "lower triangles"),
    "a huge factor": (tensors("pools.safetensors", lambda t: t | {"cholesky": t["cholesky"] * np.float32(1e38)}), "draws: want finite"),
    "a negative weight": (tensors("pools.safetensors", lambda t: t | {"weight": -t["weight"]}), "no negative share"),
}  # fmt: skip


def _spoilt_decoder(content):
    return lambda root: hostile.decoder(root, content)


def _chain(length):
    names = ["mean", *(f"x{index}" for index in range(length))]
    return [node("Neg", [a], [b]) for a, b in pairwise(names)]


RECURSIVE = helper.make_function("evil", "F", ["a"], ["b"], [node("F", ["a"], ["b"], domain="evil")], [helper.make_opsetid("evil", 1)])  # fmt: skip
GRAPHS = {
    **{f"external data: {where}": (content, "came external data|came a function") for where, content in hostile.externals().items()},
    "random": (graph([expand("mean"), node("RandomNormalLike", ["mean"], ["y"])]), "no random operator in a graph, came 'RandomNormalLike'"),
    "random in a branch": (graph([node("If", ["true"], ["y"], then_branch=helper.make_graph([node("Bernoulli", ["mean"], ["z"])], "b", [], [hostile.value("z", None)]), else_branch=helper.make_graph([node("Identity", ["mean"], ["z"])], "b", [], [hostile.value("z", None)])), expand("y")], {"true": np.array(True)}), "came 'Bernoulli'"),
    "another's operator": (graph([node("Evil", ["mean"], ["image"], domain="evil")]), "standard ONNX operators only, came 'evil'"),
    "a function of itself": (graph([expand()], functions=[RECURSIVE]), "came a function"),
    "too many nodes": (graph([*_chain(20_000), expand()]), "want at most 10000 nodes"),
    "no protobuf": (b"\x3a\x80\x80\x04" * 5000, "not an ONNX file"),
    "ONNX Runtime's own format": (b"\x08\x0a\x00\x00ORTM" + bytes(64), "not an ONNX file|cannot load it"),
    "another image": (graph([node("Expand", ["mean", "odd"], ["image"])], {"odd": np.array([1, 3, 4, 4])}, outputs=("b", "c", "h", "w")), r"the decoder answers 1 rows with \(1, 3, 4, 4\), want \(1, 1, 4, 6\)"),
    "always 7 rows": (graph([node("Expand", ["zero", "seven"], ["image"])], {"zero": np.float32(0), "seven": np.array([7, *toy.IMAGE_SHAPE])}), "want float32 with a dynamic batch"),
    "7 rows more": (graph([node("Expand", ["mean", "to pixels"], ["one"]), node("Expand", ["zero", "seven"], ["seven rows"]), node("Concat", ["one", "seven rows"], ["image"], axis=0)], {"zero": np.float32(0), "seven": np.array([7, *toy.IMAGE_SHAPE])}), "the decoder answers 1 rows with"),
    "NaN": (graph([node("Sqrt", ["less"], ["nan"]), node("Mul", ["mean", "nan"], ["y"]), expand("y")], {"less": np.float32(-1)}), "decoder: want finite values"),
    "another width at 3 rows": (hostile.fails_at(3), "the decoder answers 3 rows with"),
    "another width at 15 rows": (hostile.fails_at(15), "the decoder answers 15 rows with"),
    "a scalar": (graph([node("ReduceMean", ["mean"], ["image"], keepdims=0)], outputs=()), "want float32 with a dynamic batch"),
    "a constant without memory": (hostile.large_constant(1 << 24), "the decoder cannot run|cannot load it"),
}  # fmt: skip
CASES = {
    **{f"file: {what}": case for what, case in FILES.items()},
    **{f"manifest: {what}": case for what, case in MANIFEST.items()},
    **{f"tensors: {what}": case for what, case in TENSORS.items()},
    **{f"graph: {what}": (_spoilt_decoder(content), words) for what, (content, words) in GRAPHS.items()},
}


@pytest.mark.parametrize(("spoil", "words"), CASES.values(), ids=CASES)
def test_a_hostile_bundle_is_refused_in_one_line(tmp_path, spoil, words, capfd):
    """Never anything but BundleError, one printable line that says what is wrong, and no word from others. Callers are
    told no path of the host, and nothing that ONNX Runtime or another library said."""
    root = toy.make_bundle(tmp_path).root
    spoil(root)
    refused = refusal(root)
    said, told = str(refused), for_callers(refused, root)
    assert said.isprintable()
    assert len(said) <= 400
    assert re.search(words, said), said
    assert told.isprintable()
    assert not re.search(r"/tmp|onnxruntime|ONNXRuntimeError|Safetensor|/toy/|^[:/ ]", told), told
    assert capfd.readouterr() == ("", "")


def test_golden_rows_are_not_needed(tmp_path):
    """A bundle without them is served if the graphs do what the manifest says."""
    root = toy.make_bundle(tmp_path, with_score=True, with_flow=True).root
    hostile.without_golden(root)
    assert set(loaded(root).graphs) == {"encoder", "decoder", "prior", "score", "score_single"}


def test_a_score_that_is_not_finite_is_refused(tmp_path):
    """Every graph is tried, not the decoder alone."""
    root = toy.make_bundle(tmp_path, with_score=True).root
    hostile.without_golden(root)
    model = onnx.load_from_string((root / "score.onnx").read_bytes())
    for weight in model.graph.initializer:
        if weight.name == "half":
            weight.CopyFrom(onnx.numpy_helper.from_array(np.full(1, NAN, np.float32), "half"))
    reseal(root, "score.onnx", model.SerializeToString())
    assert str(refusal(root)) == "score: want finite values, came others"


@pytest.mark.parametrize("of", ["version", "model", "repository", "configmap", "file"])
def test_links_inside_the_repository_are_followed(tmp_path, of):
    """As operators and Kubernetes make them: a folder of any level may be a link, and a file one to another in it."""
    store, models = tmp_path / "store", tmp_path / "models"
    root = toy.make_bundle(store).root
    places = {"version": models / "toy" / "1", "model": models / "toy", "repository": models}
    if of in places:
        places[of].parent.mkdir(parents=True, exist_ok=True)
        places[of].symlink_to({"version": root, "model": root.parent, "repository": store}[of])
        root = models / "toy" / "1"
    elif of == "configmap":
        shutil.move(root, root.parent / "aside")
        root.mkdir()
        (root.parent / "aside").rename(root / "..2026_11_26")
        (root / "..data").symlink_to("..2026_11_26")
        for file in (root / "..data").iterdir():
            (root / file.name).symlink_to(f"..data/{file.name}")
    else:
        (root / "encoder.onnx").rename(store / "shared.onnx")
        (root / "encoder.onnx").symlink_to(store / "shared.onnx")
    assert loaded(root).bundle.manifest.name == "toy"


def test_the_walk_knows_every_place_for_tensors_and_operators():
    """What onnx.proto can nest is looked into, so that no tensor and no operator is passed by."""
    messages = {
        "ModelProto": "model", "GraphProto": "graph", "NodeProto": "node", "AttributeProto": "attribute",
        "SparseTensorProto": "sparse", "TensorProto": "tensor", "OperatorSetIdProto": "opset",
    }  # fmt: skip
    refused = {"FunctionProto", "TrainingInfoProto"}
    waiting, seen = [onnx.ModelProto.DESCRIPTOR], set()
    while waiting:
        message = waiting.pop()
        if message.name in seen:
            continue
        seen.add(message.name)
        for field in message.fields:
            inner = field.message_type
            if inner is not None and inner.name in messages | dict.fromkeys(refused):
                assert field.number in graph_file._PARTS[messages[message.name]], (
                    f"{message.name}.{field.name}"
                )
                waiting += [inner] if inner.name in messages else []
            elif inner is not None:
                leads_to = {f.message_type.name for f in inner.fields if f.message_type}
                assert not leads_to & (set(messages) | refused), inner.name
    assert seen == set(messages)
    assert TensorProto.DESCRIPTOR.fields_by_name["data_location"].number == 14


@given(content=st.binary(max_size=60))
def test_whatever_the_bytes_the_walk_ends(content):
    """Any bytes are a graph without what is refused, or a BundleError."""
    assert words_of(lambda: graph_file.check_graph_file("decoder.onnx", content)).isprintable()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


def places(document, path=()):
    yield path
    inside = (
        document.items()
        if isinstance(document, dict)
        else enumerate(document)
        if isinstance(document, list)
        else ()
    )
    for part, inner in inside:
        yield from places(inner, (*path, part))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(data=st.data())
def test_whatever_stands_in_a_manifest_it_is_read_or_refused(tmp_path, data):
    """Any value in the place of any other: no exception but BundleError, in one line of bounded length."""
    root = tmp_path / "toy" / "1"
    if not root.exists():
        toy.make_bundle(tmp_path)
        shutil.copy(root / bundle.MANIFEST, tmp_path / "sealed.json")
    document = json.loads((tmp_path / "sealed.json").read_text())
    path, other = data.draw(st.sampled_from(list(places(document))[1:])), data.draw(JSON)
    *way, last = path
    inner = document
    for part in way:
        inner = inner[part]
    inner[last] = other
    (root / bundle.MANIFEST).write_text(json.dumps(document))
    words = words_of(lambda: bundle.read(root))
    assert words.isprintable()
    assert len(words) <= 400
