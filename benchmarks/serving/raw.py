"""The ceiling: ONNX Runtime alone, one single-threaded session a core, no server and no sockets.

A process of its own, so that its CPU time and memory are its own; it prints one JSON object.
"""

import argparse
import json
import resource
import threading
import time
from pathlib import Path

import numpy as np

from benchmarks.serving.sessions import single_threaded
from serving.host.cpus import available_cpus


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--graph", type=Path, required=True)
    parser.add_argument("--inputs", type=Path, required=True, help="npy file: the rows of one request")
    parser.add_argument("--at-once", type=int, required=True)
    parser.add_argument("--warm-up", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    arguments = parser.parse_args()

    rows = np.load(arguments.inputs)
    begin = threading.Event()
    stop = threading.Event()
    latencies: list[list[float]] = []
    threads = []
    for _ in range(min(available_cpus(), arguments.at_once)):
        session = single_threaded(arguments.graph)
        seconds: list[float] = []
        latencies.append(seconds)
        threads.append(threading.Thread(target=_work, args=(session, rows, begin, stop, seconds)))
    for thread in threads:
        thread.start()
    time.sleep(arguments.warm_up)
    cpu_s, started = time.process_time(), time.perf_counter()
    begin.set()
    time.sleep(arguments.seconds)
    elapsed, cpu_s = time.perf_counter() - started, time.process_time() - cpu_s
    done = [seconds for each in latencies for seconds in tuple(each)]
    stop.set()
    for thread in threads:
        thread.join()
    p50, p99 = np.percentile(done, (50, 99)) * 1e3
    # Linux gives the peak in KiB.
    rss_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    result = {
        "requests": len(done),
        "seconds": elapsed,
        "p50_ms": p50,
        "p99_ms": p99,
        "cpu_s": cpu_s,
        "rss_mib": rss_mib,
    }
    print(json.dumps(result))


def _work(
    session: object, rows: object, begin: threading.Event, stop: threading.Event, seconds: list[float]
) -> None:
    run = session.run  # type: ignore[attr-defined]  # onnxruntime has no types
    (node,) = session.get_inputs()  # type: ignore[attr-defined]
    feed = {node.name: rows}
    while not stop.is_set():
        started = time.perf_counter()
        run(None, feed)
        if begin.is_set():
            seconds.append(time.perf_counter() - started)


if __name__ == "__main__":
    main()
