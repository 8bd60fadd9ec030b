"""The addresses of the protocol over HTTP, and which method each of them is.

A model here is a part of one of ours, ``digits/encoder``; clients differ in whether they escape the slash.

Sources: open-inference-protocol, specification/protocol/open_inference_rest.yaml; Triton's extensions.
"""

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote

from serving.oip.schema import request_of

_ALONE = {
    "/v2": "ServerMetadata",
    "/v2/health/live": "ServerLive",
    "/v2/health/ready": "ServerReady",
    "/v2/models/stats": "ModelStatistics",
    "/v2/repository/index": "RepositoryIndex",
}
_OF_A_MODEL = re.compile(
    r"/v2/models/(?P<name>.+?)(?:/versions/(?P<version>[^/]+))?(?:/(?P<what>config|infer|ready|stats))?"
)
_METHODS = {
    "config": "ModelConfig",
    "infer": "ModelInfer",
    "ready": "ModelReady",
    "stats": "ModelStatistics",
    None: "ModelMetadata",
}
_POSTED = ("ModelInfer", "RepositoryIndex")


@dataclass(frozen=True)
class Address:
    """What is asked for there; the last two are empty where it is about no model, or no version of one."""

    method: str
    model_name: str = ""
    model_version: str = ""

    @property
    def verb(self) -> Literal["GET", "POST"]:
        return "POST" if self.method in _POSTED else "GET"

    def request(self) -> bytes:
        """Its serialised message, where that names a model or says nothing: not of what is posted."""
        named = {"name": self.model_name, "version": self.model_version} if self.model_name else {}
        serialised: bytes = request_of(self.method)(**named).SerializeToString()
        return serialised


def find(path: str) -> Address | None:
    """What is at a path, as it came, without its query; None if nothing is."""
    path = path.removesuffix("/")
    if path in _ALONE:
        return Address(_ALONE[path])
    found = _OF_A_MODEL.fullmatch(path)
    if found is None:
        return None
    try:
        name, version = (unquote(found[key] or "", errors="strict") for key in ("name", "version"))
        return Address(_METHODS[found["what"]], name, version)
    except UnicodeDecodeError:
        return None
