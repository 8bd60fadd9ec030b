"""Which map of the latent space is worth having: ways into the plane, measured on a run's validation images.

``python -m benchmarks.latent_maps --run runs/mnist`` maps the posterior means that a bundle would hold (at
most 2,000) by each method, and prints a Markdown table:

- ``trusted``: trustworthiness (Venna & Kaski 2001) of the 10 nearest, 1 if all neighbours on the map are
  neighbours in the latent space;
- ``returns``: of 1,000 places halfway between a point and one of its 8 nearest on the map, the share whose
  image, decoded by ``LatentMap.latents_at`` and encoded again, comes back: of all points, the nearest to it
  in the latent space is among the 16 nearest to the place on the map;
- ``decodes``: nats by which an image is reconstructed worse from its place, its own point left out, than from
  its own latent (distortion, mean over 500 points);
- ``seconds``: of CPU for the projection, on one thread, for t-SNE's wait for one another beside other work.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import KernelPCA
from sklearn.manifold import MDS, TSNE, Isomap, SpectralEmbedding, trustworthiness
from threadpoolctl import threadpool_limits

from benchmarks.serving import machine
from serving.client.results import LatentMap, ServedModel
from training.data import to_unit
from training.evaluate.latents.held_out_map import MOST_IMAGES, stratified
from training.evaluate.latents.planes import mapped, plane_of_pools, principal_directions
from training.modalities.image.networks.codec import ImageDecoder, ImageEncoder
from training.pools import Latents, fit_latents, posterior
from training.runs import LoadedRun, load_run

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

FITTED = 5000
"""Training images that the pools are fitted to."""
PLACES = 1000
LEFT_OUT = 500
NEIGHBOURS = 10
SELF = ServedModel("", 0, "")


def methods(latents: Latents) -> dict[str, Callable[[Doubles], Any]]:
    """Name to projection, [N, Z] → [N, 2]."""

    def in_plane(points: Doubles) -> Doubles:
        centre, axes, _ = plane_of_pools(points, latents)
        return np.asarray((points - centre) @ axes)

    def t_sne(**options: Any) -> Callable[[Doubles], Any]:
        return lambda points: TSNE(init="pca", random_state=0, **options).fit_transform(
            points.astype(np.float32)
        )

    return {
        "principal plane": lambda points: (points - points.mean(axis=0)) @ principal_directions(points),
        "plane of the pools": in_plane,
        "kernel PCA (RBF)": lambda points: KernelPCA(2, kernel="rbf").fit_transform(points),
        "Isomap, 15 neighbours": lambda points: Isomap(n_neighbors=15).fit_transform(points),
        "spectral, 15 neighbours": lambda points: SpectralEmbedding(
            n_neighbors=15, affinity="nearest_neighbors", random_state=0
        ).fit_transform(points),
        "MDS, 1 start": lambda points: MDS(n_init=1, max_iter=100, random_state=0).fit_transform(points),
        "t-SNE, perplexity 30": t_sne(perplexity=30),
        "t-SNE, perplexity 30, 500 steps": t_sne(perplexity=30, max_iter=500),
        "t-SNE, perplexity 30, 500 steps, angle 0.8": t_sne(perplexity=30, max_iter=500, angle=0.8),
        "t-SNE, perplexity 10, 500 steps": t_sne(perplexity=10, max_iter=500),
        "t-SNE, perplexity 100, 500 steps": t_sne(perplexity=100, max_iter=500),
        "as exported": lambda points: mapped(points.astype(np.float32)),
    }


class Measured:
    """One run: its model, and the latents that a bundle would hold."""

    def __init__(self, run: Path) -> None:
        self._loaded: LoadedRun = load_run(run)
        data = self._loaded.dataset()
        self._encoder, self._decoder = ImageEncoder(self._loaded.model), ImageDecoder(self._loaded.model)
        self.latents = fit_latents(
            self._encoder,
            data.train.images[:FITTED],
            None if data.train.labels is None else data.train.labels[:FITTED],
            data.label_names,
        )
        labels = None if data.val.labels is None else data.val.labels.numpy()
        rows = stratified(labels, len(data.val), MOST_IMAGES)
        self.images = to_unit(data.val.images[rows])
        self.means = posterior(self._encoder, self.images)[1].mean

    def row(self, project: Callable[[Doubles], Any]) -> dict[str, float]:
        """What is measured of one method."""
        began = time.process_time()
        points = np.asarray(project(self.means.astype(np.float64)), np.float32)
        seconds = time.process_time() - began
        return {
            "trusted": float(trustworthiness(self.means, points, n_neighbors=NEIGHBOURS)),
            "returns": self._returns(points),
            "decodes": self._decodes(points),
            "seconds": seconds,
        }

    def _returns(self, points: Floats) -> float:
        draw = np.random.default_rng(0)
        chosen = draw.integers(0, len(points), PLACES)
        others = _nearest(points, points[chosen], 9)[np.arange(PLACES), draw.integers(1, 9, PLACES)]
        places = (points[chosen] + points[others]) / 2
        latents = _map(points, self.means).latents_at(places)
        again = posterior(self._encoder, self._decoded(latents))[1].mean
        alike = _nearest(self.means, again, 1)
        return float((_nearest(points, places, 16) == alike).any(axis=1).mean())

    def _decodes(self, points: Floats) -> float:
        chosen = np.random.default_rng(1).permutation(len(points))[:LEFT_OUT]
        parts = []
        for row in chosen:
            others = np.delete(np.arange(len(points)), row)
            parts.append(_map(points[others], self.means[others]).latents_at(points[row : row + 1]))
        images = self.images[torch.from_numpy(chosen)]
        worse, own = (
            self._distortion(latents, images) for latents in (np.concatenate(parts), self.means[chosen])
        )
        return float((worse - own).mean())

    @torch.inference_mode()
    def _distortion(self, latents: Floats, images: torch.Tensor) -> torch.Tensor:
        model = self._loaded.model
        shaped = torch.from_numpy(latents).unflatten(1, model.latent_shape)
        return -model.likelihood.log_prob(images, model.decoder(shaped))

    @torch.inference_mode()
    def _decoded(self, latents: Floats) -> torch.Tensor:
        shaped = torch.from_numpy(latents).unflatten(1, self._loaded.model.latent_shape)
        images: torch.Tensor = self._decoder(shaped)
        return images


def _map(points: Floats, latents: Floats) -> LatentMap:
    return LatentMap(SELF, points, latents, [], None, None, None)


def _nearest(points: Floats, places: NDArray[Any], count: int) -> NDArray[np.int64]:
    """[M, count] rows of ``points`` [N, D], the nearest to each place [M, D] first."""
    squares = np.square(places.astype(np.float64)).sum(axis=1)[:, None] - 2 * places @ points.T
    squares = squares + np.square(points.astype(np.float64)).sum(axis=1)
    return np.argsort(squares, axis=1, kind="stable")[:, :count]


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure maps of the latent space.")
    parser.add_argument("--run", type=Path, required=True, action="append", help="run folder; repeatable")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    args = parser.parse_args()
    found: dict[str, Any] = {"machine": machine.describe(), "runs": {}}
    torch.set_num_threads(1)
    for run in args.run:
        measured = Measured(run)
        latents = measured.means.shape[1]
        print(f"\n{run.name}: {len(measured.means)} points, {latents} latents\n")
        print("| method | trusted | returns | decodes | seconds |\n|---|---|---|---|---|")
        rows = {}
        with threadpool_limits(1):
            for name, project in methods(measured.latents).items():
                row = rows[name] = measured.row(project)
                numbers = (f"{row['trusted']:.3f}", f"{row['returns']:.0%}", f"{row['decodes']:+.1f}")
                cells = " | ".join([*numbers, f"{row['seconds']:.1f}"])
                print(f"| {name} | {cells} |", flush=True)
        found["runs"][run.name] = {"points": len(measured.means), "latents": latents, "methods": rows}
    if args.out:
        args.out.write_text(json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
