"""Calls of every method to a server, so that its metrics and dashboards have something to show."""

import contextlib
import json
import time
import urllib.error
import urllib.request
from typing import Any

import numpy as np

from serving.client import Client, VaeError


def exercise(address: str, http_address: str, *, seconds: float = 0.0) -> int:
    """Use every method and both doors, right and wrong, again and again for that long and at least once; returns
    the calls made."""
    end = time.monotonic() + seconds
    calls = 0
    with Client(address) as client:
        while True:
            calls += _round(client) + _over_http(http_address)
            if time.monotonic() >= end:
                return calls


def call(http_address: str, method: str, **request: Any) -> dict[str, Any]:
    """A method of VaeService over HTTP, in JSON, with the standard library alone. Raises HTTPError."""
    return _post(f"http://{http_address}/vae.v1.VaeService/{method}", request)


def infer(http_address: str, part: str, request: dict[str, Any]) -> dict[str, Any]:
    """A part of a model by the Open Inference Protocol over REST. Raises HTTPError."""
    return _post(f"http://{http_address}/v2/models/{part}/infer", request)


def _post(address: str, document: dict[str, Any]) -> dict[str, Any]:
    body, headers = json.dumps(document).encode(), {"content-type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(address, body, headers), timeout=30) as answer:
        return dict(json.load(answer))


def _over_http(address: str) -> int:
    (model, *_) = call(address, "ListModels")["models"]
    name = model["model"]["name"]
    call(address, "Sample", model={"name": name}, count=2)
    count = {"name": "count", "datatype": "INT64", "shape": [1], "data": [2]}
    infer(address, f"{name}/sampler", {"inputs": [count]})
    with contextlib.suppress(urllib.error.HTTPError):
        call(address, "Sample", model={"name": "no such model"}, count=1)
    return 4


def _round(client: Client) -> int:
    (model, *_) = client.models()
    about = client.model(model.name)
    images = np.random.default_rng(0).random((4, *about.image_shape), np.float32)
    client.sample(model.name, 8)
    for pool in about.pools:
        client.sample(model.name, 2, pool=pool.name)
    sampled = client.sample(model.name, 2, near=images[:1], spread=0.1, latents=True)
    client.encode(model.name, images)
    assert sampled.latents is not None
    client.decode(model.name, sampled.latents)
    client.reconstruct(model.name, images)
    with contextlib.suppress(VaeError):
        client.sample(model.name, 1, pool="no such pool")
    with contextlib.suppress(VaeError):
        client.sample("no such model", 1)
    return 8 + len(about.pools)
