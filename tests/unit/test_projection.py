"""``projection.safetensors``: what is sealed is read back, and nothing else is taken for a map."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.numpy import save

from serving import bundle
from serving.bundle import BundleError, Projection
from serving.bundle.projection import MOST_BYTES, MOST_LABELS, MOST_POINTS, PROJECTION
from serving.models.loading import load, read_version
from serving.models.refusals import for_callers
from serving.runtime.providers import Provider
from tests.support import toy
from tests.support.bundles import reseal

POINTS = 12
F, I = np.float32, np.int32  # noqa: E741
NAN = F("nan")
COORDINATES = st.floats(-float(F(1e18)), float(F(1e18)), width=32)
NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=128
)


def loaded(root):
    return load(read_version(root, 1 << 30), Provider("cpu", "asked for"), 16)


@st.composite
def projections(draw):
    """Any that may be sealed, of models with 5 pools."""
    count, latents = draw(st.integers(1, 9)), draw(st.integers(1, 4))
    labels = tuple(draw(st.lists(NAMES, max_size=4, unique=True)))

    def indices(end):
        return draw(arrays.arrays(I, count, elements=st.integers(-1, end - 1)))

    return Projection(
        points=draw(arrays.arrays(F, (count, 2), elements=COORDINATES)),
        latents=draw(arrays.arrays(F, (count, latents), elements=COORDINATES)),
        labels=labels,
        label_of=indices(len(labels)) if labels else None,
        pool_of=indices(5) if draw(st.booleans()) else None,
        quantile=draw(arrays.arrays(F, count, elements=st.floats(0, 1, width=32)))
        if draw(st.booleans())
        else None,
    )


@given(projections())
def test_what_is_written_is_read_back(made):
    """Every tensor to the bit, every name, and what is missing stays missing."""
    again = Projection.from_bytes(made.to_bytes(), latents=made.latents.shape[1], pools=5)
    assert again.labels == made.labels
    for name in ("points", "latents", "label_of", "pool_of", "quantile"):
        wanted, came = getattr(made, name), getattr(again, name)
        assert (wanted is None) == (came is None)
        if wanted is not None:
            assert came.dtype == wanted.dtype
            np.testing.assert_array_equal(came, wanted)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_map_or_refused(content):
    """Whatever the file holds there is no other error."""
    with pytest.raises(BundleError) as refused:
        Projection.from_bytes(content, latents=3, pools=3)
    assert str(refused.value).startswith(PROJECTION)


def changed(**tensors):
    """The toy's map with other tensors; None takes one away."""

    def spoil(root):
        known = vars(toy.projection(POINTS)) | {"labels": np.frombuffer(b"a\nb", np.uint8)} | tensors
        content = {name: np.array(tensor, order="C") for name, tensor in known.items() if tensor is not None}
        reseal(root, PROJECTION, save(content))

    return spoil


def filled(value, *shape, dtype=F):
    return np.full(shape, value, dtype)


def text(content: bytes):
    return np.frombuffer(content, np.uint8)


def long_header(root):
    content = b'{"__metadata__":{"a":"' + b"x" * (2 << 20) + b'"}}'
    reseal(root, PROJECTION, len(content).to_bytes(8, "little") + content)


CASES = {
    "no points": (changed(points=None), "points: want 1 to 10000 of them, came 0"),
    "a scalar of points": (changed(points=np.array(F(1))), "points: want 1 to 10000 of them, came 0"),
    "none at all": (changed(points=filled(0, 0, 2), latents=filled(0, 0, 3)), "points: want 1 to 10000 of them, came 0"),
    "10,001 points": (changed(points=filled(0, MOST_POINTS + 1, 2)), "want 1 to 10000 of them, came 10001"),
    "in space": (changed(points=filled(0, POINTS, 3)), r"points: want float32 \(12, 2\), came float32 \(12, 3\)"),
    "a NaN": (changed(points=filled(NAN, POINTS, 2)), "points: want finite values"),
    "an infinity": (changed(points=filled(np.inf, POINTS, 2)), "points: want finite values"),
    "points far away": (changed(points=filled(1e20, POINTS, 2)), "points: want finite values of at most 1e.18"),
    "doubles": (changed(points=filled(0, POINTS, 2, dtype=np.float64)), "points: want float32 .* came float64"),
    "half floats": (changed(latents=filled(0, POINTS, 3, dtype=np.float16)), "latents: want float32 .* came float16"),
    "other latents": (changed(latents=filled(0, POINTS, 4)), r"latents: want float32 \(12, 3\), came float32 \(12, 4\)"),
    "no latents": (changed(latents=None), "latents: want float32 .* came nothing"),
    "fewer latents": (changed(latents=filled(0, POINTS - 1, 3)), r"latents: .* came float32 \(11, 3\)"),
    "latents that are no numbers": (changed(latents=filled(NAN, POINTS, 3)), "latents: want finite values"),
    "a label too high": (changed(label_of=filled(2, POINTS, dtype=I)), "label_of: want -1 or an index below 2"),
    "a label too low": (changed(label_of=filled(-2, POINTS, dtype=I)), "label_of: want -1 or an index below 2"),
    "labels as floats": (changed(label_of=filled(0, POINTS)), "label_of: want int32 .* came float32"),
    "labels of no one": (changed(label_of=None), "want labels and label_of, or neither"),
    "labels without names": (changed(labels=None), "want labels and label_of, or neither"),
    "no UTF-8": (changed(labels=text(b"\xff")), "labels: want at most 4096 names .* came something else"),
    "a name of nothing": (changed(labels=text(b"a\n")), "labels: want at most 4096 names"),
    "a long name": (changed(labels=text(b"a" * 129)), "labels: want at most 4096 names"),
    "a control character": (changed(labels=text(b"a\x1bb")), "labels: want at most 4096 names"),
    "many names": (changed(labels=text(b"\n".join(b"%d" % i for i in range(MOST_LABELS + 1)))), "labels: want at most"),
    "a name twice": (changed(labels=text(b"a\na")), "labels: want names that differ"),
    "names in a square": (changed(labels=filled(65, 2, 2, dtype=np.uint8)), "labels: want uint8 of one axis"),
    "names as floats": (changed(labels=filled(65, 2)), "labels: want uint8 of one axis"),
    "a pool too many": (changed(pool_of=filled(3, POINTS, dtype=I)), "pool_of: want -1 or an index below 3"),
    "pools of fewer": (changed(pool_of=filled(0, 3, dtype=I)), r"pool_of: want int32 \(12,\), came int32 \(3,\)"),
    "a quantile of 2": (changed(quantile=filled(2, POINTS)), "quantile: want finite values of at most 1,"),
    "a quantile below 0": (changed(quantile=filled(-0.5, POINTS)), "quantile: want values from 0 to 1"),
    "a quantile of NaN": (changed(quantile=filled(NAN, POINTS)), "quantile: want finite values"),
    "a large file": (lambda root: reseal(root, PROJECTION, bytes(MOST_BYTES + 1)), f"want at most {MOST_BYTES} bytes, came {MOST_BYTES + 1}"),
    "long metadata": (long_header, "not a safetensors file: its header would have"),
    "nothing in it": (lambda root: reseal(root, PROJECTION, b""), "not a safetensors file"),
    "text": (lambda root: reseal(root, PROJECTION, b"hello, world"), "not a safetensors file"),
}  # fmt: skip


@pytest.mark.parametrize(("spoil", "words"), CASES.values(), ids=CASES)
def test_a_hostile_map_refuses_the_version(tmp_path, spoil, words, monkeypatch):
    """By one printable line that names the file and what was wanted, for callers too, without a word of others."""
    root = toy.make_bundle(tmp_path, projection=toy.projection(POINTS)).root
    spoil(root)
    monkeypatch.setattr(bundle.Bundle, "content", small(bundle.Bundle.content))
    with pytest.raises(BundleError) as refused:
        loaded(root)
    said, told = str(refused.value), for_callers(refused.value, root)
    assert said.startswith(f"{PROJECTION}: ")
    assert re.search(words, said), said
    assert said.isprintable()
    assert len(said) <= 400
    assert told.startswith(PROJECTION)
    assert "Safetensor" not in told


def small(content):
    """Reading a file of a bundle, but for those that are too large to be read."""

    def read(self, name):
        assert self.manifest.files[name].size <= MOST_BYTES, f"{name} is read"
        return content(self, name)

    return read


def test_a_bundle_may_lack_a_map(tmp_path):
    """Bundles from before there were maps are loaded as before."""
    assert loaded(toy.make_bundle(tmp_path).root).projection is None


def test_files_that_a_server_does_not_know_are_verified_and_left_alone(tmp_path):
    """So a bundle with a map is served by servers from before there were maps, and by those of today one with
    whatever comes next; what is not as it was sealed is refused all the same."""
    root = toy.make_bundle(tmp_path).root
    reseal(root, "novelty.safetensors", b"of a later time")
    assert set(loaded(root).graphs) == {"encoder", "decoder"}
    (root / "novelty.safetensors").write_bytes(b"of a later tide")
    with pytest.raises(BundleError, match=r"novelty\.safetensors: want sha256"):
        loaded(root)


def test_a_map_is_kept_as_it_was_sealed(tmp_path):
    """Of a version in service it is at hand, the optional parts too; a plain one has none of them."""
    sealed = toy.projection(POINTS)
    kept = loaded(toy.make_bundle(tmp_path, projection=sealed).root).projection
    np.testing.assert_array_equal(kept.points, sealed.points)
    np.testing.assert_array_equal(kept.quantile, sealed.quantile)
    assert kept.labels == ("zéro", "one")
    plain = loaded(
        toy.make_bundle(tmp_path, version=2, projection=toy.projection(plain=True)).root
    ).projection
    assert (plain.labels, plain.label_of, plain.pool_of, plain.quantile) == ((), None, None, None)
