"""Kinds of data: what each of them is for the server, in a room of its own.

``modality`` says what a kind must tell of the tensors of its graphs, ``wire_form`` what of its messages. The
latter, and ``on_the_wire``, are for those who know of messages; models ask ``modality_of`` alone.
"""

from collections.abc import Callable

from serving.bundle import Bundle, ModalityName
from serving.modalities.image.image_modality import ImageModality
from serving.modalities.modality import Modality
from serving.modalities.table.table_modality import TableModality

__all__ = ["Modality", "modality_of"]

_KINDS: dict[ModalityName, Callable[[Bundle], Modality]] = {"image": ImageModality, "table": TableModality}


def modality_of(bundle: Bundle) -> Modality:
    """What the rows of a verified bundle are. Raises BundleError."""
    return _KINDS[bundle.manifest.modality](bundle)
