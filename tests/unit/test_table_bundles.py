"""Bundles of tables: what their manifests must say, and what a server refuses to load."""

import json

import pytest

from serving import bundle
from serving.bundle import BundleError
from serving.bundle.tables import Schema
from serving.models.loading import load
from serving.runtime.providers import Provider
from tests.support import bundles, toy, toy_table

CPU = Provider("cpu", "tests")


def test_what_was_sealed_is_read_back(tmp_path):
    """Format 2, with its schema; images go on being written in format 1, which knows no modality."""
    sealed = toy_table.make_bundle(tmp_path)
    again = bundle.read(sealed.root)
    assert again == sealed
    assert (again.manifest.format, again.manifest.modality, again.manifest.image) == (2, "table", None)
    assert Schema.parse(again.content("schema.json")) == toy_table.SCHEMA
    images = json.loads((toy.make_bundle(tmp_path).root / bundle.MANIFEST).read_text())
    assert images["format"] == 1
    assert "modality" not in images


def changed(tmp_path, change, table=True):
    sealed = toy_table.make_bundle(tmp_path) if table else toy.make_bundle(tmp_path)
    bundles.rewrite_manifest(sealed.root, change)
    return sealed.root


CONTRADICTIONS = {
    "format 1 with a modality": (False, {"modality": "image"}, "modality: want it in format 2"),
    "a table in format 1": (True, {"format": 1}, "modality: want it in format 2, and not in format 1"),
    "an unknown modality": (True, {"modality": "sound"}, "modality: Input should be 'image' or 'table'"),
    "a table with an image": (
        True,
        {"image": {"shape": [1, 2, 3], "value_range": [0, 1], "colour": "grey"}},
        "image: want null where the modality is table",
    ),
    "images without one": (True, {"modality": "image"}, "image: want an object where the modality is image"),
    "a table of pixels": (
        True,
        {"likelihood": {"name": "bernoulli", "sigma": None, "binarisation": "none"}},
        "likelihood: came bernoulli where the modality is table",
    ),
    "images of columns": (
        False,
        {"likelihood": {"name": "columns", "sigma": None, "binarisation": "none"}},
        "likelihood: came columns where the modality is image",
    ),
}


@pytest.mark.parametrize(("table", "content", "message"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_manifests_that_contradict_themselves_are_refused(tmp_path, table, content, message):
    root = changed(tmp_path, lambda document: document.update(content), table)
    with pytest.raises(BundleError, match=message):
        bundle.read(root)


def test_the_modality_is_required_in_format_2(tmp_path):
    root = changed(tmp_path, lambda document: document.pop("modality"))
    with pytest.raises(BundleError, match="modality: want it in format 2"):
        bundle.read(root)


def test_a_table_has_a_schema_and_graphs_of_its_own(tmp_path):
    """The file must be there; an encoder of images is none of a table."""
    root = changed(tmp_path, lambda document: document["files"].pop("schema.json"))
    with pytest.raises(BundleError, match=r"files: missing schema\.json"):
        bundle.read(root)

    def rename(document):
        document["graphs"]["encoder"]["inputs"] = {"image": "features"}

    root = changed(tmp_path / "other", rename)
    with pytest.raises(BundleError, match=r"graphs\.encoder\.inputs: want features, came image"):
        bundle.read(root)


def test_what_verifies_is_loaded(tmp_path):
    """With every queue, proven by its golden rows."""
    loaded = load(toy_table.make_bundle(tmp_path, with_flow=True), CPU, 8)
    assert set(loaded.graphs) == {"encoder", "decoder", "prior", "score", "score_single"}
    assert loaded.modality.takes.shape == (18,)


SPOILT = {
    "golden parameters": ({"golden_error": 0.1}, None, "decoded: differs from the golden rows by"),
    "a schema of more": ({}, "more", r"answers \d rows with|cannot run a batch"),
    "no schema at all": ({}, "none", r"schema\.json: not JSON"),
}


@pytest.mark.parametrize(("options", "schema", "message"), SPOILT.values(), ids=SPOILT)
def test_what_does_not_fit_is_not_served(tmp_path, options, schema, message):
    """Graphs of other shapes than the schema wants, and answers that are not PyTorch's."""
    sealed = toy_table.make_bundle(tmp_path, **options)
    if schema == "more":
        columns = [
            *toy_table.SCHEMA.columns,
            toy_table.SCHEMA.columns[1].model_copy(update={"name": "age 2"}),
        ]
        content = Schema(columns=tuple(columns)).to_bytes()
        bundles.reseal(sealed.root, "schema.json", content)
    if schema == "none":
        bundles.reseal(sealed.root, "schema.json", b"{")
    with pytest.raises(BundleError, match=message):
        load(bundle.read(sealed.root), CPU, 8)
