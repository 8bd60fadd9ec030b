"""Bundles as nobody should seal them, and graphs as nobody should export them: bounded forms of what may be tried."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load, save

from serving import bundle
from tests.support import toy
from tests.support.bundles import reseal, rewrite_manifest

node = helper.make_node
PIXELS = {"to pixels": np.array([1, *toy.IMAGE_SHAPE], np.int64)}
MEAN = [
    node("ReduceMean", ["latent", "axis"], ["m"], keepdims=1),
    node("Reshape", ["m", "as rows"], ["mean"]),
]
CONSTANTS = {"axis": np.array([1]), "as rows": np.array([-1, 1, 1, 1])}


def value(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def graph(nodes, constants=(), extra=(), functions=(), domains=(), outputs=("batch", *toy.IMAGE_SHAPE)):
    """A decoder of these nodes; ``mean`` [b, 1, 1, 1] is given, ``image`` wanted."""
    weights = [
        numpy_helper.from_array(np.asarray(v), n)
        for n, v in {**CONSTANTS, **PIXELS, **dict(constants)}.items()
    ]
    inside = helper.make_graph(
        [*MEAN, *nodes],
        "g",
        [value("latent", ["batch", toy.LATENTS])],
        [value("image", list(outputs))],
        [*weights, *extra],
    )
    opsets = [helper.make_opsetid("", 18), *(helper.make_opsetid(domain, 1) for domain in domains)]
    made = helper.make_model(inside, opset_imports=opsets, functions=list(functions), ir_version=10)
    return made.SerializeToString()


def expand(source="mean"):
    return node("Expand", [source, "to pixels"], ["image"])


def decoder(root: Path, content: bytes) -> None:
    """In place of the sealed one, without golden rows that would tell."""
    reseal(root, "decoder.onnx", content)
    without_golden(root)


def without_golden(root: Path) -> None:
    rewrite_manifest(root, lambda document: document["files"].pop("golden.safetensors"))


def endless_loop() -> bytes:
    body = helper.make_graph(
        [node("Identity", ["c"], ["c2"]), node("Identity", ["x"], ["x2"])],
        "body",
        [value("i", [], TensorProto.INT64), value("c", [], TensorProto.BOOL), value("x", None)],
        [value("c2", [], TensorProto.BOOL), value("x2", None)],
    )
    loop = node("Loop", ["turns", "true", "mean"], ["y"], body=body)
    return graph([loop, expand("y")], {"turns": np.int64(2**62), "true": np.array(True)})


def large_constant(mebibytes: int) -> bytes:
    nodes = [
        node("ConstantOfShape", ["size"], ["large"]),
        node("ReduceMean", ["large"], ["one"], keepdims=0),
        node("Mul", ["mean", "one"], ["y"]),
        expand("y"),
    ]
    return graph(nodes, {"size": np.array([mebibytes << 18])})


def external(location="secret.txt"):
    tensor = TensorProto(name="e", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    for key, text in (("location", location), ("offset", "0"), ("length", "4")):
        tensor.external_data.add(key=key, value=text)
    return tensor


def _in_subgraph(tensor):
    branch = helper.make_graph([], "b", [], [value("e", [1])], [tensor])
    return node("If", ["true"], ["y"], then_branch=branch, else_branch=branch)


def _in_sparse():
    sparse = onnx.SparseTensorProto(values=external(), dims=[1])
    return node("Constant", [], ["y"], sparse_value=sparse)


def externals():
    """External data wherever a graph may have tensors."""
    add = node("Add", ["mean", "e"], ["y"])
    attribute = node("Constant", [], ["e"], value=external())
    function = helper.make_function("", "F", ["a"], ["b"], [attribute, node("Add", ["a", "e"], ["b"])], [])
    sparse = onnx.ModelProto.FromString(graph([expand()]))
    sparse.graph.sparse_initializer.add().values.CopyFrom(external())
    undeclared = external()
    undeclared.data_location = TensorProto.DEFAULT
    return {
        "initializer": graph([add, expand("y")], extra=[external()]),
        "in memory": graph([add, expand("y")], extra=[external("*/_ORT_MEM_ADDR_/*")]),
        "no location": graph([add, expand("y")], extra=[undeclared]),
        "attribute": graph([attribute, add, expand("y")]),
        "subgraph": graph([_in_subgraph(external()), expand("y")], {"true": np.array(True)}),
        "sparse initializer": sparse.SerializeToString(),
        "sparse attribute": graph([_in_sparse(), expand("y")]),
        "function": graph([expand()], functions=[function]),
    }


def fails_at(rows: int) -> bytes:
    """Of that many rows it makes images of another width."""
    nodes = [
        node("Shape", ["m"], ["s"], start=0, end=1),
        node("Equal", ["s", "rows"], ["is it"]),
        node("Cast", ["is it"], ["more"], to=TensorProto.INT64),
        node("Add", ["width", "more"], ["w"]),
        node("Concat", ["head", "w"], ["shape"], axis=0),
        node("Expand", ["mean", "shape"], ["image"]),
    ]
    channels, height, width = toy.IMAGE_SHAPE
    constants = {
        "rows": np.array([rows]),
        "width": np.array([width]),
        "head": np.array([1, channels, height]),
    }
    return graph(nodes, constants, outputs=("batch", channels, height, "w"))


def tensors(file, change):
    """A bundle's safetensors file, changed."""

    def spoil(root):
        content = load((root / file).read_bytes())
        reseal(root, file, save(change(content) or content))

    return spoil


def swapped(file, make):
    """Something else in the file's place."""

    def spoil(root):
        (root / file).unlink()
        make(root / file)

    return spoil


def text(change):
    """The manifest as text, changed."""

    def spoil(root):
        path = root / bundle.MANIFEST
        path.write_text(change(path.read_text()))

    return spoil


def key(*path, to):
    """One value of the manifest."""

    def change(document):
        for part in path[:-1]:
            document = document[part]
        document[path[-1]] = to

    return lambda root: rewrite_manifest(root, change)


def file_named(name):
    return lambda root: rewrite_manifest(
        root, lambda document: document["files"].update({name: {"size": 0, "sha256": "0" * 64}})
    )


def declared(name, size):
    """A sparse file, and a manifest that says so."""

    def spoil(root):
        (root / name).touch()
        os.truncate(root / name, size)
        key("files", name, to={"size": size, "sha256": "0" * 64})(root)

    return spoil


def grown(file, size):
    return lambda root: os.truncate(root / file, size)


def header(content: bytes, *, length=None):
    """pools.safetensors with that header."""
    size = len(content) if length is None else length
    return lambda root: reseal(root, "pools.safetensors", size.to_bytes(8, "little") + content)


def retyped(kind):
    """pools.safetensors with weights of another type."""

    def spoil(root):
        raw = (root / "pools.safetensors").read_bytes()
        end = 8 + int.from_bytes(raw[:8], "little")
        described = json.loads(raw[8:end])
        described["weight"].update(dtype=kind, shape=[6])
        changed = json.dumps(described).encode()
        reseal(root, "pools.safetensors", len(changed).to_bytes(8, "little") + changed + raw[end:])

    return spoil


def copied(version: Path, number: int) -> Path:
    """The next version, moved in in one step as an exporter does it."""
    target = version.parent / str(number)
    hidden = version.parent / f".{number}"
    shutil.copytree(version, hidden)
    rewrite_manifest(hidden, lambda document: document.update(version=number))
    return hidden.rename(target)
