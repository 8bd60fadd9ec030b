"""What the demo asks of the service, through the client that users have."""

import base64
import json
import time
import urllib.request
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.client import Client, Model, Posteriors, ServedModel

Images = NDArray[Any]
Floats = NDArray[np.float32]

SEED = 7
SAMPLES = 1000
"""Enough that another seed moves the share of trash by a point or two."""
PER_POOL = 200
RECONSTRUCTED = 16
WALK_STEPS = 13
"""From one test digit to another."""


@dataclass(frozen=True)
class Answers:
    """Everything that the service said."""

    served: ServedModel
    model: Model
    samples: Images
    """[1000, C, H, W] from the prior, in the model's value range."""
    pools: dict[str, Images]
    """[200, C, H, W] from the pool of every digit, by name."""
    pool_latents: dict[str, Floats]
    """[200, Z], the latents of these."""
    posteriors: Posteriors
    """Of the test images."""
    reconstructions: Images
    """[16, C, H, W] of the first test images."""
    walk: Images
    """[14, C, H, W] through latent space from one test image to another."""
    repeatable: bool
    """Whether rows 5 to 8 of the seed, asked for alone, were bit-equal to those amid the others."""
    seconds: float
    """For all these calls."""


@dataclass(frozen=True)
class Autoencoder:
    """What an autoencoder of the same network says to the same questions."""

    samples: Images
    """[1000, C, H, W] of random latents, N(0, I), those of the same seed."""
    fitted: Images
    """[1000, C, H, W] of latents from one Gaussian, fitted to all that it has encoded."""
    walk: Images
    """[14, C, H, W] between the same two test images."""


def ask_autoencoder(client: Client, name: str, ends: Images) -> Autoencoder:
    """Sample and Interpolate; ``ends`` are two images."""
    everything = next(pool.name for pool in client.model(name).pools if pool.aggregate)
    return Autoencoder(
        samples=client.sample(name, SAMPLES, seed=SEED).images,
        fitted=client.sample(name, SAMPLES, seed=SEED, pool=everything).images,
        walk=_walk(client, name, ends),
    )


def _walk(client: Client, name: str, ends: Images) -> Images:
    return client.interpolate(name, WALK_STEPS, images=ends).images


def ask(client: Client, name: str, test_images: Images, ends: Images) -> Answers:
    """Sample from the prior and from every pool, Encode, Reconstruct and Interpolate."""
    started = time.perf_counter()
    model = client.model(name)
    samples = client.sample(name, SAMPLES, seed=SEED, latents=True)
    again = client.sample(name, 4, seed=SEED, first_row=5, latents=True)
    assert samples.latents is not None
    assert again.latents is not None
    pools, pool_latents = {}, {}
    for pool in (pool.name for pool in model.pools if not pool.aggregate):
        drawn = client.sample(name, PER_POOL, seed=SEED, pool=pool, latents=True)
        assert drawn.latents is not None
        pools[pool], pool_latents[pool] = drawn.images, drawn.latents.reshape(PER_POOL, -1)
    posteriors = client.encode(name, test_images, pool_probabilities=True)
    reconstructions = client.reconstruct(name, test_images[:RECONSTRUCTED]).images
    return Answers(
        served=samples.model,
        model=model,
        samples=samples.images,
        pools=pools,
        pool_latents=pool_latents,
        posteriors=posteriors,
        reconstructions=reconstructions,
        walk=_walk(client, name, ends),
        repeatable=np.array_equal(again.latents, samples.latents[5:9]),
        seconds=time.perf_counter() - started,
    )


def is_the_same_by_http(client: Client, http_address: str, name: str) -> bool:
    """Whether a plain POST of JSON gives the PNG files that gRPC gives for the same seed."""
    request = {"model": {"name": name}, "count": 4, "seed": SEED, "imageFormat": "IMAGE_FORMAT_PNG"}
    url = f"http://{http_address}/vae.v1.VaeService/Sample"
    post = urllib.request.Request(url, json.dumps(request).encode(), {"content-type": "application/json"})
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy is for the world outside
    with direct.open(post, timeout=30) as response:
        answer = json.load(response)
    files = [base64.b64decode(file) for file in answer["images"]["png"]["files"]]
    return files == client.sample(name, 4, seed=SEED, format="png").png


def latency_ms(client: Client, name: str, *, count: int, calls: int) -> tuple[float, float]:
    """Median and 99th percentile of Sample, one call after the other."""
    client.sample(name, count)
    seconds = []
    for _ in range(calls):
        started = time.perf_counter()
        client.sample(name, count)
        seconds.append(time.perf_counter() - started)
    median, tail = np.quantile(seconds, [0.5, 0.99]) * 1000
    return float(median), float(tail)
