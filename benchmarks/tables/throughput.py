"""Records a second, served and bare: ``python -m benchmarks.tables.throughput --repository R --model adult``.

A server in a process of its own, several callers over gRPC, packed columns. Beside it, in this process and in
turns with it, ONNX Runtime on one thread with batches of as many rows, without and with drawing the records
from what the decoder gives. Sample: prior, decoder. Score: 16 samples a row. Ratios alone are to be quoted.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime as ort

from serving.bundle import Bundle, read
from serving.bundle.tables import Schema, draw, to_features
from serving.client import Client
from serving.latent.noise import standard_normal, uniform

ROWS, CALLERS, CALLS, SAMPLES = 256, 4, 4, 16


def session(bundle: Bundle, role: str) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(bundle.content(f"{role}.onnx"), options, providers=["CPUExecutionProvider"])


def rate(work: Callable[[int], object], calls: int) -> float:
    """Rows a second of ``calls`` calls of ``ROWS`` rows, one after another."""
    began = time.perf_counter()
    for call in range(calls):
        work(call)
    return calls * ROWS / (time.perf_counter() - began)


def bare(bundle: Bundle) -> dict[str, Callable[[int], object]]:
    schema = Schema.parse(bundle.content("schema.json"))
    latents = int(np.prod(bundle.manifest.latent_shape))
    prior, decoder, score = (session(bundle, role) for role in ("prior", "decoder", "score"))
    columns = len(schema.modelled)

    def parameters(call: int) -> np.ndarray:
        noise = standard_normal(call, 0, ROWS, latents).astype(np.float32)
        (latent,) = prior.run(None, {"noise": noise})
        found: np.ndarray = decoder.run(None, {"latent": latent})[0]
        return found

    def drawn(call: int) -> object:
        uniforms = uniform(call, 0, ROWS, 3 * columns).reshape(ROWS, columns, 3)
        return draw(schema, parameters(call), uniforms)

    features = to_features(schema, draw(schema, parameters(0), np.full((ROWS, columns, 3), 0.4)))

    def scored(call: int) -> object:
        noise = standard_normal(call, 0, ROWS * SAMPLES, latents).astype(np.float32)
        return score.run(None, {"features": features, "noise": noise.reshape(ROWS, SAMPLES, latents)})

    return {"graphs of Sample": parameters, "graphs and draws of Sample": drawn, "graph of Score": scored}


def served(address: str, model: str) -> dict[str, float]:
    """Rows a second of ``CALLERS`` callers at once."""
    with Client(address) as client:
        records = client.sample_records(model, ROWS, seed=0).records

        def rows_of(work: Callable[[int], object]) -> float:
            began = time.perf_counter()
            with ThreadPoolExecutor(CALLERS) as pool:
                list(pool.map(work, range(CALLERS * CALLS)))
            return CALLERS * CALLS * ROWS / (time.perf_counter() - began)

        return {
            "Sample": rows_of(lambda call: client.sample_records(model, ROWS, seed=call)),
            "Score": rows_of(lambda call: client.score(model, records, samples=SAMPLES, seed=call)),
        }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repository", type=Path, required=True)
    parser.add_argument("--model", default="adult")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)
    version = max((options.repository / options.model).iterdir(), key=lambda path: int(path.name))
    works = bare(read(version))
    places = ["--address=127.0.0.1:0", "--http-address=off", "--metrics-address=127.0.0.1:0", "--threads=1"]
    command = [sys.executable, "-m", "serving", "--repository", str(options.repository), *places]
    found: dict[str, list[float]] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout
            line = server.stdout.readline()
            address = line.split("grpc=")[1].split()[0]
            for _ in range(options.rounds + 1):
                rates = {name: rate(work, CALLS) for name, work in works.items()}
                for name, value in (rates | served(address, options.model)).items():
                    found.setdefault(name, []).append(value)
        finally:
            server.terminate()
    rounds = {name: values[1:] for name, values in found.items()}  # the first warms up
    for name, values in rounds.items():
        print(f"{name:28} {statistics.median(values):10,.0f} rows/s")
    pairs = [("Sample", name) for name in works if "Sample" in name] + [("Score", "graph of Score")]
    for one, other in pairs:
        ratios = [a / b for a, b in zip(rounds[one], rounds[other], strict=True)]
        print(f"{one} of {other}: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
