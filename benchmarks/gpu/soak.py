"""The step ``soak``: 10,000 requests of random sizes; every one is answered, and memory stays flat."""

from contextlib import ExitStack
from typing import Any

import numpy as np

from benchmarks.gpu import bundles, servers, smi, step
from benchmarks.gpu.children import ChildFailed, child
from benchmarks.gpu.step import Record, Told
from benchmarks.serving.metrics_page import Page
from benchmarks.serving.servers import Vaeserve

_MODEL = "conv"
_REQUESTS = {"cuda": 10_000, "cpu": 200}
_LOOKS = 20
_MOST_ROWS = {"cuda": 1024, "cpu": 16}
_COMPARED = {"cuda": (1, 7, 64, 333, 1024), "cpu": (1, 7)}
"""Sizes whose answers are compared with the first."""
_CLIENTS, _AT_ONCE = 4, 4
_LARGEST = 1e-5
"""What answers may differ by when others are in the batch."""
_GROWTH, _GROWTH_MIB = 0.01, 16.0
"""Over the last third of the looks, by their slope: a share of the level, or so much if that is more."""


def work(told: Told, record: Record) -> None:
    repository = bundles.repository(told, _MODEL)
    most, requests = _MOST_ROWS[told.device], _REQUESTS[told.device]
    rows = told.work / "soak-latents.npy"
    np.save(rows, servers.latents(repository, _MODEL, most))
    log = told.work / "soak-server.log"
    with ExitStack() as stack:
        server = stack.enter_context(servers.server(repository, told.device, log, most))
        arguments = ("--port", str(server.port))
        clients = [
            stack.enter_context(child("load", told.work / f"soak-{place}.log", *arguments))
            for place in range(_CLIENTS)
        ]
        for client in clients:
            client.ask(told.left_s(), do="at_once", count=_AT_ONCE)
        looks, totals = (
            [_look(server, 0)],
            dict.fromkeys(("calls", "failures", "rows", "compared", "equal"), 0),
        )
        record.row("looks", looks[0])
        largest = 0.0
        for look in range(_LOOKS):
            if told.left_s() <= 0:
                break
            question = {
                "do": "random",
                "model": _MODEL,
                "rows": str(rows),
                "calls": -(-requests // (_LOOKS * _CLIENTS)),
                "compared": list(_COMPARED[told.device]),
            }
            for place, client in enumerate(clients):
                client.send(**question, seed=_CLIENTS * look + place)
            try:
                came = [client.answer(told.left_s() + 1.0) for client in clients]
            except ChildFailed as exc:
                record.missed("the rest of the requests", str(exc))
                break
            for name in totals:
                totals[name] += sum(one[name] for one in came)
            largest = max(largest, *(one["largest"] for one in came))
            failures = [failure for one in came for failure in one["first_failures"]]
            looks.append(_look(server, totals["calls"]))
            record.row("looks", looks[-1] | ({"failures": failures[:5]} if failures else {}))
        _verdicts(told, record, totals, largest, requests, looks)


def _look(server: Vaeserve, calls: int) -> dict[str, Any]:
    """At the memory, while nothing is in flight."""
    found: dict[str, Any] = {
        "calls": calls,
        "server_mib": round(server.process.usage().rss_mib, 1),
        "card_mib": smi.used_mib(),
    }
    page = Page.of(server.metrics_port).samples
    used = page.get(("vae_gpu_memory_bytes", frozenset({("state", "used")})))
    return found | {"metrics_mib": None if used is None else round(used / 2**20, 1)}


def _verdicts(
    told: Told,
    record: Record,
    totals: dict[str, int],
    largest: float,
    requests: int,
    looks: list[dict[str, Any]],
) -> None:
    record.check("requests", totals["calls"] >= requests, totals["calls"], f">= {requests}")
    record.check("requests that failed", not totals["failures"], totals["failures"], "0")
    differing = totals["compared"] - totals["equal"]
    came = f"{largest:.2g} ({differing} of {totals['compared']} differ from the first answer)"
    record.check("largest difference of an answer to its first", largest <= _LARGEST, came, f"<= {_LARGEST}")
    missing = set()
    for what in ("server_mib", "card_mib", "metrics_mib"):
        values = [look[what] for look in looks if look[what] is not None]
        if len(values) == len(looks) > 3:
            _flat(record, what, [look["calls"] for look in looks], values)
        else:
            record.missed(what, "nobody tells, or there were too few looks")
            missing.add(what)
    nowhere = {"card_mib", "metrics_mib"} <= missing and not told.rehearsed
    if "server_mib" in missing or nowhere:
        record.check("memory", False, "not measured", "flat")
    record.figure("requests", totals["calls"])
    record.figure("rows", totals["rows"])


def _flat(record: Record, what: str, calls: list[int], values: list[float]) -> None:
    third = max(3, len(values) // 3)
    slope = float(np.polyfit(calls[-third:], values[-third:], 1)[0])
    growth, most = slope * (calls[-1] - calls[-third]), max(_GROWTH_MIB, _GROWTH * values[-1])
    came = f"{growth:.1f} of {values[-1]:.0f}"
    record.check(f"{what}: growth over the last third", growth <= most, came, f"<= {most:.0f}")
    record.figure(what, values[-1])


if __name__ == "__main__":
    step.main("soak", work)
