"""The form on the wire of each kind of data."""

from collections.abc import Callable
from typing import Any

from serving.modalities.image.image_wire import ImageWire
from serving.modalities.modality import Modality
from serving.modalities.wire_form import GivenRows, WireForm, Writer

_FORMS: dict[str, Callable[[Any], WireForm]] = {"image": ImageWire}


def wire_of(modality: Modality) -> WireForm:
    return _FORMS[modality.name](modality)


def given(holder: Any, modality: Modality) -> GivenRows:
    """The rows that a request holds."""
    wire = wire_of(modality)
    return wire.given(getattr(holder, wire.many), wire.many)


def given_one(holder: Any, modality: Modality, within: str) -> GivenRows | None:
    """The single row that a part of a request, the field ``within``, holds; None if it has none."""
    wire = wire_of(modality)
    if not holder.HasField(wire.one):
        return None
    return wire.given(getattr(holder, wire.one), f"{within}.{wire.one}")


def writer_of(request: Any, modality: Modality) -> Writer:
    """Raises InvalidInput for a form of response that these rows cannot have."""
    return wire_of(modality).writer(request)
