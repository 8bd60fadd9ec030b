"""Kinds of data found without labels, the pool of what belongs to none of them, and names."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from serving.latent.pool_set import PoolSet
from training.pools import AGGREGATE, UNKNOWN, fit_pools
from training.pools.examples import read_examples
from training.pools.kinds import FoundKinds, read_kinds, write_kinds
from training.pools.latent_space import fit_found
from training.pools.mixture import find_kinds
from training.pools.naming import name_kinds
from training.pools.overlap import merge
from training.training_error import TrainingError

CENTRES = np.array([[6.0, 0, 0, 0], [-6, 0, 0, 0], [0, 6, 0, 0]])


def blobs(rows: int = 600) -> tuple[np.ndarray, np.ndarray]:
    """Three Gaussians in 4 latents, the last of which says nothing; the truth beside them."""
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], [rows // 2, rows // 3, rows // 6])
    points = CENTRES[truth] + rng.standard_normal((len(truth), 4)) * [1, 1, 0.5, 0.01]
    return points.astype(np.float32), truth


@pytest.fixture(scope="module")
def found():
    points, truth = blobs()
    return points, truth, find_kinds(points)


def test_bic_finds_the_kinds_that_there_are(found):
    """Three well separated Gaussians are three pools, the largest first, the same from every start."""
    _, truth, kinds = found
    assert kinds.components == 3
    assert kinds.components == min(kinds.curve, key=lambda point: point.bic).components
    assert adjusted_rand_score(truth, kinds.assignment) > 0.99
    assert np.bincount(kinds.assignment).tolist() == [300, 200, 100]
    assert kinds.stability > 0.99
    assert {point.covariance for point in kinds.curve} == {"full", "tied", "diag"}


def test_bic_is_that_of_all_images_in_nats_per_image():
    """With one component and full covariance the curve is the closed form of a single Gaussian."""
    points = np.random.default_rng(0).standard_normal((500, 3)).astype(np.float32)
    one = next(point for point in find_kinds(points).curve if point.covariance == "full")
    scaled = points / np.sqrt(points.var(axis=0).mean())
    log_det = np.linalg.slogdet(np.cov(scaled.T, bias=True))[1]
    expected = 0.5 * (3 * np.log(2 * np.pi) + log_det + 3) + 0.5 * 9 * np.log(500) / 500
    assert one.bic == pytest.approx(expected, abs=0.01)


def test_components_of_one_kind_are_merged():
    """Kinds that are no Gaussian, two half-moons, take many components; merged by overlap they are whole."""
    from sklearn.datasets import make_moons

    points, truth = make_moons(1500, noise=0.06, random_state=0)
    kinds = find_kinds(points.astype(np.float32), count=2)
    assert kinds.components > 4
    assert adjusted_rand_score(truth, kinds.assignment) > 0.98


def test_merging_keeps_apart_what_does_not_overlap():
    """Two pairs of components that share images become two groups; the cut is the share between groups."""
    rows = np.array([[0.6, 0.4, 0, 0], [0.4, 0.6, 0, 0], [0, 0, 0.7, 0.3], [0, 0.1, 0.4, 0.5]] * 10)
    groups, cut = merge(rows, 2)
    assert groups[0] == groups[1] != groups[2] == groups[3]
    overlap = rows.T @ rows
    between = overlap[:2, 2:].sum()
    assert cut == pytest.approx(between / overlap[:2].sum() + between / overlap[2:].sum())
    assert merge(rows, 1)[1] == pytest.approx(0)


def test_unknown_is_what_belongs_to_no_pool(found):
    """The server says "unknown" of far points, of at most 2 % of a pool's images, and the sum stays 1."""
    points, _, kinds = found
    entries, pools = fit_found(points, kinds.assignment, ["a", "b", "c"])
    assert [entry.name for entry in entries] == ["a", "b", "c", UNKNOWN, AGGREGATE]
    assert 0 < pools.weight[3] <= 1
    served = PoolSet(entries, pools)
    far = np.array([[0, -9, 0, 0], [0, 0, 4, 0], [20, 20, 0, 0], [6, 0, 0, 1.0]])
    likely = served.probabilities(far)
    assert (likely[:, served.kinds.index(UNKNOWN)] > 0.5).all()
    at_home = served.probabilities(points.astype(np.float64))
    np.testing.assert_allclose(at_home.sum(axis=1), 1, rtol=1e-6)
    called = at_home[:, 3] > 0.5
    assert max(called[kinds.assignment == pool].mean() for pool in range(3)) <= 0.02
    assert called.any()


def test_one_kind_is_the_aggregate():
    """Where BIC finds one Gaussian there are no kinds to tell apart; nor among a few images."""
    points = np.random.default_rng(0).standard_normal((300, 3)).astype(np.float32)
    kinds = find_kinds(points)
    assert kinds.assignment.max() == 0
    assert [entry.name for entry in fit_found(points, kinds.assignment, ["pool-1"])[0]] == [AGGREGATE]
    assert find_kinds(points[:3]).components == 1
    assert find_kinds(np.ones((40, 3), np.float32)).components == 1


def described(found) -> tuple[FoundKinds, np.ndarray]:
    return FoundKinds.of(found, step=7, count=None, seed=0), found.assignment


def test_names_are_majority_votes(found, tmp_path):
    """Each pool takes the label of most of its examples; equal labels become one pool; kept in the run."""
    points, truth, kinds = found
    document, assignment = described(kinds)
    fitted = fit_pools(points, assignment, ["pool-1", "pool-2", "pool-3"])
    rows = [0, 1, 2, 300, 301]
    named = name_kinds(document, fitted, points[rows], ["cat", "cat", "dog", "cat", "cat"])
    first, second, third = named.kinds
    assert (first.label, second.label, third.label) == ("cat", "cat", None)
    assert (first.examples, first.agreement) == (pytest.approx(3), pytest.approx(2 / 3))
    index, names = named.named(assignment)
    assert names == ("cat", "pool-3")
    assert np.array_equal(index, np.where(truth == 2, 1, 0))
    write_kinds(tmp_path, named, assignment)
    again = read_kinds(tmp_path, step=7, images=600)
    assert again is not None
    assert again[0] == named
    assert np.array_equal(again[1], assignment)
    assert read_kinds(tmp_path, step=8, images=600) is None
    with pytest.raises(TrainingError, match=r"pools\.json: want it to fit .* 599 training images"):
        read_kinds(tmp_path, step=7, images=599)
    with pytest.raises(TrainingError, match="'unknown': is the name of another pool"):
        name_kinds(document, fitted, points[:2], ["cat", "unknown"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file"),
        ("", "at least two labels, came none"),
        ("row,label\n1,cat\n2,cat\n", "at least two labels, came one, 'cat'"),
        ("1,cat\n2\n", "line 2: want file-or-row,label, came '2'"),
        ("1,cat\n2,\n", "line 2: want file-or-row,label"),
        ("1,cat\n2,dog,brown\n", "line 2: want file-or-row,label, came '2,dog,brown'"),
    ],
)
def test_examples_that_say_nothing_are_refused(tmp_path, content, message):
    """A missing file, one label, and lines that are not a pair are named."""
    path = tmp_path / "labels.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(TrainingError, match=message):
        read_examples(path)


def test_more_pools_than_images_are_refused():
    """Ten images a pool, and at least one pool."""
    points = blobs()[0]
    for count in (0, 61):
        with pytest.raises(TrainingError, match=f"--count {count}: want 1 to 60, for 600 images"):
            find_kinds(points, count=count)
