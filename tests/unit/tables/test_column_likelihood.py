"""p(x|z) of a table in torch is the one that records are drawn from, and its networks take any cell."""

import numpy as np
import onnxruntime as ort
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.bundle.tables import OBSERVED, UNKNOWN, Cells, draw, log_prob, to_features
from tests.support.table_schemas import parameters_of, people, schemas, uniforms_of
from training.config import FitConfig
from training.export.graphs import to_onnx
from training.modalities.table.column_likelihood import ColumnLikelihood
from training.modalities.table.column_score import ColumnScore
from training.modalities.table.hidden_cells import distance, hidden_cells, hide
from training.modalities.table.table_model import build_model

SEEDS = st.integers(0, 1000)
SMALL = {"data": "people.csv", "network": "residual", "likelihood": "columns", "prior": "flow", "latent": 4}
SIZES = {"width": 16, "depth": 1, "couplings": 2, "coupling_width": 8}


def rows_of(schema, count, seed):
    """Records as they may come: drawn, some cells not told, some numbers far beyond those of the training."""
    rng = np.random.default_rng(seed)
    cells = draw(schema, parameters_of(schema, count, seed), uniforms_of(schema, count, seed))
    values, states = cells.values.copy(), cells.states.copy()
    states[rng.random(states.shape) < 0.2] = UNKNOWN
    for place, column in enumerate(schema.modelled):
        if hasattr(column, "bounds"):
            span = 1 + column.bounds[1] - column.bounds[0]
            step = column.lattice or 1.0
            values[:5, place] += np.round(rng.choice([-3, 3]) * span / step) * step
    return Cells(np.where(states == OBSERVED, values, 0), states)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build_model(FitConfig.parse(SMALL | SIZES), people()).eval()


@given(schemas(), SEEDS)
@settings(max_examples=40, deadline=None)
def test_torch_says_what_numpy_says(schema, seed):
    """Of every kind of column, of cells that are missing, unknown or beyond all that was seen, to 1e-4."""
    cells, parameters = rows_of(schema, 40, seed), parameters_of(schema, 40, seed + 1).astype(np.float32)
    wanted = log_prob(schema, parameters, cells)
    features = torch.from_numpy(to_features(schema, cells))
    came = ColumnLikelihood(schema).by_column(features, torch.from_numpy(parameters)).numpy()
    assert (np.abs(came - wanted) <= 1e-4 * np.maximum(1, np.abs(wanted))).all()


def test_the_row_is_the_sum_of_its_cells():
    """Several samples of a posterior share the rows they are of."""
    schema = people()
    likelihood = ColumnLikelihood(schema)
    features = torch.from_numpy(to_features(schema, rows_of(schema, 6, 0)))
    parameters = torch.from_numpy(parameters_of(schema, 18, 0).astype(np.float32)).unflatten(0, (3, 6))
    whole = likelihood.log_prob(features, parameters)
    assert whole.shape == (3, 6)
    for sample in range(3):
        alone = likelihood.by_column(features, parameters[sample]).sum(dim=-1)
        torch.testing.assert_close(whole[sample], alone)


def test_what_is_unknown_has_no_part(model):
    """The score of a cell that is not told is 0, and what stands in its place changes nothing."""
    schema = people()
    features = torch.from_numpy(to_features(schema, rows_of(schema, 8, 3)))
    columns = len(schema.modelled)
    unknown = features[:, 2 * columns :] == 0
    assert unknown.any()
    noise = torch.randn(8, 2, 4)
    score = ColumnScore(model)
    with torch.no_grad():
        *_, by_column = score(features, noise)
        assert (by_column[unknown] == 0).all()
        odd = features.clone()
        odd[:, columns : 2 * columns] += 5 * unknown
        for came, wanted in zip(score(odd, noise), score(features, noise), strict=True):
            torch.testing.assert_close(came, wanted)


def test_columns_add_up_to_the_distortion(model):
    """Which cell is odd is told in the nats that the row's distortion is made of."""
    features = torch.from_numpy(to_features(people(), rows_of(people(), 8, 4)))
    with torch.no_grad():
        distortion, rate, log_weight, by_column = ColumnScore(model)(features, torch.randn(8, 3, 4))
    torch.testing.assert_close(by_column.sum(dim=1), distortion)
    assert (rate.shape, log_weight.shape) == ((8,), (8, 3))


def test_the_gradient_is_finite_of_any_row(model):
    """Numbers far off, missing and unknown cells, and a row of which nothing is told."""
    schema = people()
    features = torch.from_numpy(to_features(schema, rows_of(schema, 30, 5)))
    features[0] = 0
    mean, log_var = model.encoder(features)
    loss = -model.likelihood.log_prob(features, model.decoder(mean)).mean() + log_var.mean()
    loss.backward()
    gradients = [p.grad for p in (*model.encoder.parameters(), *model.decoder.parameters())]
    assert all(gradient is None or gradient.isfinite().all() for gradient in gradients)
    model.zero_grad(set_to_none=True)


def test_the_exported_score_computes_the_same(model):
    """ONNX Runtime within 1e-4 of PyTorch, whatever the number of rows and of draws."""
    schema = people()
    features = torch.from_numpy(to_features(schema, rows_of(schema, 9, 6)))
    score, noise = ColumnScore(model).eval(), torch.randn(9, 3, 4)
    names = ("distortion", "rate", "log_weight", "column_distortion")
    axes = {"noise": ("batch", "samples")}
    content = to_onnx(score, {"features": features, "noise": noise}, names, label="score", axes=axes)
    session = ort.InferenceSession(content, providers=["CPUExecutionProvider"])
    for rows, draws in ((1, 1), (5, 3), (9, 2)):
        given = features[:rows], noise[:rows, :draws].contiguous()
        with torch.no_grad():
            wanted = score(*given)
        came = session.run(None, {"features": given[0].numpy(), "noise": given[1].numpy()})
        for one, other in zip(came, wanted, strict=True):
            scale = np.maximum(1, np.abs(other.numpy()))
            assert (np.abs(one - other.numpy()) <= 1e-4 * scale).all()


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_hidden_cells_are_unknown(seed):
    """Of a hidden cell code, score and state are gone, of others nothing; the same seed hides the same."""
    schema = people()
    features = torch.from_numpy(to_features(schema, rows_of(schema, 20, 7)))
    columns = len(schema.modelled)

    def drawn():
        return hidden_cells((20, columns), torch.Generator().manual_seed(seed))

    hidden = drawn()
    assert torch.equal(hidden, drawn())
    shown = hide(features, hidden).unflatten(1, (3, columns))
    for part, before in zip(shown.unbind(1), features.unflatten(1, (3, columns)).unbind(1), strict=True):
        assert (part[hidden] == 0).all()
        assert torch.equal(part[~hidden], before[~hidden])


def test_half_of_all_cells_are_hidden():
    """Each row's share is uniform, so some rows are whole and some are empty."""
    hidden = hidden_cells((4000, 10), torch.Generator().manual_seed(0))
    assert 0.45 < hidden.float().mean() < 0.55
    assert hidden.all(dim=1).any()
    assert (~hidden).all(dim=1).any()


def test_the_posterior_of_a_part_follows_that_of_the_whole(model):
    """The distance is 0 of the same row, above it of a part, and no matter of the decoder."""
    features = torch.from_numpy(to_features(people(), rows_of(people(), 8, 8)))
    assert float(distance(model, features, features).detach()) == pytest.approx(0, abs=1e-5)
    part = hide(features, hidden_cells((8, features.shape[1] // 3), torch.Generator().manual_seed(0)))
    far = distance(model, features, part)
    assert float(far.detach()) > 0
    far.backward()
    assert all(parameter.grad is None for parameter in model.decoder.parameters())
    model.zero_grad(set_to_none=True)
