"""``python -m benchmarks.serving``: run, write, compare. See benchmarks/README.md."""

import argparse
import json
import shutil
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from benchmarks.serving import machine, models, records, rounds, targets
from benchmarks.serving.peers import PEERS, VARIANTS
from benchmarks.serving.servers import OWN, Server, event_loop
from benchmarks.serving.workloads import WORKLOADS

RESULTS = Path("benchmarks/results")
_QUICK_RESULTS = Path("build/benchmarks")
_SERVERS: dict[str, Server] = {server.name: server for server in (*OWN, *PEERS, *VARIANTS)}


def main() -> int:
    options = _options()
    if shutil.which("h2load") is None:
        print("h2load is missing; want nghttp2's, on Debian: apt-get install nghttp2-client", file=sys.stderr)
        return 2
    quick = options.quick
    servers = [_SERVERS[name] for name in options.servers or [s.name for s in OWN]]
    if options.peers:
        servers += [peer for peer in (*PEERS, *VARIANTS) if peer not in servers]
    workloads = [WORKLOADS[name] for name in options.workloads or WORKLOADS]
    output = options.output or (_QUICK_RESULTS if quick else RESULTS)
    with tempfile.TemporaryDirectory(prefix="vae-models-") as folder:
        repository = models.make_repository(Path(folder, "models"))
        plan = rounds.Plan(
            seconds=options.seconds or (1.5 if quick else 5.0),
            warm_up_s=0.5 if quick else 1.0,
            rounds=options.rounds or (1 if quick else 5),
            loop=options.loop or event_loop(repository, Path(folder, "log")),
        )
        results = rounds.run(servers, workloads, repository, plan)
    return _report(results, plan, output, quick)


def _report(results: rounds.Results, plan: rounds.Plan, output: Path, quick: bool) -> int:
    noise = targets.noise(results.records)
    verdicts = targets.verdicts(results.records, [peer.name for peer in (*PEERS, *VARIANTS)])
    warning = targets.too_noisy(noise)
    table = records.markdown(results.records)
    meta = {
        **machine.describe(),
        "loop": plan.loop,
        "seconds": plan.seconds,
        "warm_up_s": plan.warm_up_s,
        "rounds": plan.rounds,
        "noise": {workload: asdict(one) for workload, one in noise.items()},
        "too_noisy": warning,
        "targets": [str(verdict) for verdict in verdicts],
        "failures": results.failures,
    }
    output.mkdir(parents=True, exist_ok=True)
    records.write_json(output / "serving.json", results.records)
    (output / "serving.meta.json").write_text(json.dumps(meta, indent=2, ensure_ascii=False) + "\n")
    (output / "serving.md").write_text(table)
    print(table)
    print("\n".join(map(str, verdicts)))
    for what, why in results.failures.items():
        print(f"NOT MEASURED  {what}: {why.splitlines()[0]}")
    if warning:
        print(warning)
    if quick:
        print("A quick run: rounds and seconds are too few to quote.")
    print(f"written to {output}/serving.json, serving.meta.json and serving.md")
    return 1 if results.failures else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument("--servers", nargs="+", choices=_SERVERS, metavar="NAME", help=", ".join(_SERVERS))
    parser.add_argument(
        "--workloads", nargs="+", choices=WORKLOADS, metavar="NAME", help=", ".join(WORKLOADS)
    )
    parser.add_argument("--seconds", type=float, help="measured a round (5)")
    parser.add_argument("--rounds", type=int, help="of every server and workload, interleaved (5)")
    parser.add_argument("--quick", action="store_true", help="one short round, for development")
    parser.add_argument("--peers", action="store_true", help="add the peers (make bench-peers installs them)")
    parser.add_argument(
        "--loop",
        choices=("asyncio", "uvloop"),
        help="event loop of the bare aio servers (default: the one vaeserve runs on)",
    )
    parser.add_argument("--output", type=Path, help=f"folder to write ({RESULTS}; {_QUICK_RESULTS} if quick)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
