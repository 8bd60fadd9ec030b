"""The schema of a table by the numbers of its training rows alone."""

from serving.bundle.tables import OBSERVED, Cells, Modelled, Number, Schema
from training.modalities.table.reading.build_schema import share_of
from training.modalities.table.reading.numeric_scale import heaps_of, scale_and_bins
from training.modalities.table.reading.sources.raw_columns import Doubles


def fitted_schema(schema: Schema, cells: Cells, training: Cells) -> Schema:
    """``schema`` with the scales, bins and bounds of numbers and times by the ``training`` cells alone.

    What a column is, its kinds and how it is written stay those of all ``cells``, and so do bounds that were
    said, which are not those of the cells.
    """
    most = share_of(len(schema.modelled))
    fitted = {
        column.name: _fitted(column, _told(cells, place), _told(training, place), most)
        for place, column in enumerate(schema.modelled)
    }
    columns = tuple(fitted.get(column.name, column) for column in schema.columns)
    bounds = {name: column.bounds for name, column in fitted.items() if isinstance(column, Number)}
    orders = tuple(
        (low, high)
        for low, high in schema.orders
        if all(a <= b for a, b in zip(bounds[low], bounds[high], strict=True))
    )
    return Schema(columns=columns, label=schema.label, orders=orders)


def _told(cells: Cells, place: int) -> Doubles:
    told: Doubles = cells.values[cells.states[:, place] == OBSERVED, place]
    return told


def _fitted(column: Modelled, every: Doubles, training: Doubles, most: int) -> Modelled:
    if not isinstance(column, Number) or not len(training):
        return column
    scale, bins = scale_and_bins(training, lattice=column.lattice, most_bins=most)
    bounds = column.bounds
    if bounds == (every.min(), every.max()):
        bounds = float(training.min()), float(training.max())
    heaps = (
        heaps_of(training) if bins is None and bounds == (training.min(), training.max()) else (False, False)
    )
    fitted = {"scale": scale, "bins": bins, "bounds": bounds, "heaps": heaps}
    return type(column).model_validate({**dict(column), **fitted})
