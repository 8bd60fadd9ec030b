"""Figures of synthetic rows: what real rows, shuffled columns and copies must give."""

import numpy as np
import pytest

from serving.bundle.tables import Cells
from tests.support.table_samples import adult, real_rows, samples, shuffled, staff
from training.modalities.table.evaluation.quality_report import quality
from training.modalities.table.evaluation.record_quality import record_quality
from training.modalities.table.evaluation.two_sample_test import c2st


def test_real_rows_are_as_good_as_held_out_ones():
    """Rows of the same distribution: shapes and trends near 1, C2ST near chance, no nearer to training."""
    found = record_quality(staff(), samples()).tables
    figures = found["quality"]["synthetic"]
    assert figures["shapes"] > 0.96
    assert figures["trends"] > 0.9
    assert figures["overall"] == pytest.approx((figures["shapes"] + figures["trends"]) / 2)
    assert abs(found["c2st"]["synthetic"]["auc"] - 0.5) < 0.06
    learned = found["learned from"]
    assert learned["synthetic"]["auc"] == pytest.approx(learned["real"]["auc"], abs=0.03)
    nearer = found["closest record"]["synthetic"]
    assert abs(nearer["nearer_to_training"] - 0.5) < 4 * nearer["nearer_to_training_se"]
    assert nearer["copies"] == 0
    assert all(row["kept"] == 1 and row["real_kept"] == 1 for row in found["constraints kept"].values())


def test_shuffled_columns_are_told():
    """The marginals alone: shapes stay, trends fall, C2ST tells, nothing can be learned, orders break."""
    found = record_quality(staff(), samples(synthetic=shuffled(real_rows(1500, 1), 5))).tables
    real = found["quality"]["real held-out"]
    figures = found["quality"]["synthetic"]
    assert figures["shapes"] == pytest.approx(1)
    assert figures["trends"] < real["trends"] - 0.05
    assert figures["strong_trends"] < real["strong_trends"] - 0.2
    assert found["c2st"]["synthetic"]["auc"] > 0.9
    assert found["c2st"]["synthetic"]["score"] == pytest.approx(2 - 2 * found["c2st"]["synthetic"]["auc"])
    assert abs(found["learned from"]["synthetic"]["auc"] - 0.5) < 0.1
    assert found["learned from"]["real"]["auc"] > 0.9
    assert found["constraints kept"]["start <= end"]["kept"] < 0.95


def test_copies_of_training_rows_are_found():
    """Rows learned by heart lie at no distance, all on the side of the training rows."""
    found = record_quality(staff(), samples(600, synthetic=real_rows(600, 1))).tables["closest record"]
    assert found["synthetic"]["copies"] == 1
    assert found["synthetic"]["nearer_to_training"] == 1
    assert found["synthetic"]["distance_to_training"] == 0 < found["synthetic"]["distance_to_held_out"]
    assert found["real held-out"]["nearer_to_training"] < 0.6


def test_the_same_rows_have_the_same_figures():
    """Everything is drawn by the seed."""
    a, b = (record_quality(staff(), samples(300), seed=4).tables for _ in range(2))
    assert a == b


def test_a_column_without_cells_has_no_figure():
    """A column that is missing throughout, on one side or both, is left out; nothing becomes NaN."""
    rows = samples(200)
    states = rows.synthetic.states.copy()
    states[:, 1] = -1
    found = record_quality(
        staff(), rows._replace(synthetic=Cells(rows.synthetic.values * (states == 1), states))
    )
    assert "pay" not in found.tables["quality by column"]
    figures = [value for table in found.tables.values() for row in table.values() for value in row.values()]
    assert np.isfinite(figures).all()


def test_two_rows_are_too_few_for_a_classifier():
    """The error says how many are wanted."""
    with pytest.raises(ValueError, match="rows: want at least 3 of each table, came 2"):
        c2st(staff(), real_rows(2, 0), real_rows(50, 1))


def test_figures_are_those_of_sdmetrics():
    """Shapes, trends, strong trends: equal to SDMetrics' own report on the same rows, to rounding."""
    reports = pytest.importorskip("sdmetrics.reports.single_table", reason="SDMetrics is not installed")
    import pandas as pd

    schema, rows = staff(), samples(700)
    tables = []
    for cells in (rows.train, shuffled(rows.held_out, 1)):
        values = np.where(cells.states == 1, cells.values, np.nan)
        tables.append(pd.DataFrame(dict(zip([c.name for c in schema.modelled], values.T, strict=True))))
    kinds = {name: "categorical" if name in ("job", "married") else "numerical" for name in tables[0]}
    report = reports.QualityReport()
    report.generate(*tables, {"columns": {n: {"sdtype": kind} for n, kind in kinds.items()}}, verbose=False)
    found = quality(schema, rows.train, shuffled(rows.held_out, 1)).tables["quality"]["synthetic"]
    shapes, strong = report.get_properties()["Score"]
    assert found["shapes"] == pytest.approx(shapes, abs=1e-9)
    assert found["strong_trends"] == pytest.approx(strong, abs=1e-9)
    report.real_correlation_threshold = report.real_association_threshold = 0
    report.generate(*tables, {"columns": {n: {"sdtype": kind} for n, kind in kinds.items()}}, verbose=False)
    assert found["trends"] == pytest.approx(report.get_properties()["Score"][1], abs=1e-9)


@pytest.mark.slow
def test_adult_against_itself(data_dir):
    """On Adult: real rows cannot be told from real rows, shuffled columns can."""
    schema, rows = adult(data_dir, 4000)
    real = record_quality(schema, rows).tables
    assert real["quality"]["synthetic"]["shapes"] > 0.97
    assert abs(real["c2st"]["synthetic"]["auc"] - 0.5) < 0.03
    assert real["learned from"]["synthetic"]["auc"] > 0.88
    independent = record_quality(schema, rows._replace(synthetic=shuffled(rows.train, 0))).tables
    assert independent["c2st"]["synthetic"]["auc"] > 0.9
    assert independent["quality"]["synthetic"]["trends"] < real["quality"]["synthetic"]["trends"] - 0.02
