"""The form on the wire of each kind of data, and the rows of a request in the form that its model wants."""

from collections.abc import Callable
from functools import cache
from typing import Any

from serving.errors import InvalidInput
from serving.modalities.image.image_wire import ImageWire
from serving.modalities.modality import Modality
from serving.modalities.table.table_wire import TableWire
from serving.modalities.wire_form import GivenRows, WireForm, Writer

_FORMS: dict[str, Callable[[Any], WireForm]] = {"image": ImageWire, "table": TableWire}
_OF: dict[str, tuple[str, ...]] = {
    "image": (ImageWire.many, ImageWire.one, *ImageWire.asked),
    "table": (TableWire.many, TableWire.one, *TableWire.asked),
}
"""Fields of messages that are of one kind of data."""


def wire_of(modality: Modality) -> WireForm:
    return _FORMS[modality.name](modality)


def given(holder: Any, modality: Modality) -> GivenRows:
    """The rows that a request holds. Raises InvalidInput if it holds some of another kind."""
    check_kind(holder, modality)
    wire = wire_of(modality)
    return wire.given(getattr(holder, wire.many), wire.many)


def given_one(holder: Any, modality: Modality, within: str) -> GivenRows | None:
    """The single row that a part of a request, the field ``within``, holds; None if it has none.

    Raises InvalidInput if it holds one of another kind.
    """
    check_kind(holder, modality, f"{within}.")
    wire = wire_of(modality)
    if not holder.HasField(wire.one):
        return None
    return wire.given(getattr(holder, wire.one), f"{within}.{wire.one}")


def writer_of(request: Any, modality: Modality) -> Writer:
    """Raises InvalidInput for a form of response that these rows cannot have."""
    check_kind(request, modality)
    return wire_of(modality).writer(request)


def check_kind(holder: Any, modality: Modality, within: str = "") -> None:
    """Raises InvalidInput if a message says something that is for another kind of data."""
    for field, has_presence in _foreign(holder.DESCRIPTOR, modality.name):
        if holder.HasField(field) if has_presence else getattr(holder, field):
            own = [name for name in _OF[modality.name] if name in holder.DESCRIPTOR.fields_by_name]
            wanted = own[0] if own else "none"
            raise InvalidInput(
                f"{within}{field}", f"this model is of {modality.name}s; want {wanted}, came {field}"
            )


@cache
def _foreign(descriptor: Any, kind: str) -> list[tuple[str, bool]]:
    """Fields of a message that are for other kinds of data, and whether it knows that they are set."""
    fields = [name for other, names in _OF.items() if other != kind for name in names]
    known = descriptor.fields_by_name
    return [(name, known[name].has_presence) for name in fields if name in known]
