"""The deployment in a real Docker engine: ``python -m tests.deploy.engine [STEP …]``, or ``make engine-check``.

Builds, starts, watches, breaks, upgrades and stops the composed service, and prints what it saw. Every step may rely
on those before it; without arguments all of them run. Wants docker with compose, and about ten minutes.
"""

import base64
import http.client
import io
import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
import urllib.error
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
from PIL import Image

from serving.client import Client
from serving.pb.vae.v1 import vae_service_pb2 as pb
from serving.pb.vae.v1.vae_service_pb2_grpc import VaeServiceStub
from tests.deploy import live_prometheus, monitoring, tools, traffic
from tests.deploy.docker import Stack, last_line, seconds, timed
from tests.deploy.live_prometheus import until

VERSION = tomllib.loads((tools.ROOT / "pyproject.toml").read_text())["project"]["version"]
ROWS = 1536
"""Of a large request; eight of them at once are not too many for the queue."""
SERVER, TRAINER = f"vaeserve:{VERSION}-cpu", f"vaeserve-training:{VERSION}-cpu"


def say(text: str) -> None:
    print(f"   {text}", flush=True)


def build(stack: Stack) -> None:
    """The Dockerfiles build as they are; what each adds to its base image."""
    start = time.monotonic()
    stack.compose("build", "--quiet")
    say(f"built in {timed(start)} (layers that have not changed are reused)")
    base = size(stack, "python:3.11-slim")
    for image in (SERVER, TRAINER):
        say(f"{image}: {(size(stack, image) - base) / 1e6:.0f} MB on top of python:3.11-slim")


def size(stack: Stack, image: str) -> int:
    return int(stack.run("image", "inspect", "--format", "{{.Size}}", image).stdout)


def first_start(stack: Stack) -> None:
    """From empty volumes: trains, serves, is watched, with one command."""
    start = time.monotonic()
    stack.compose("up", "-d", "--wait")
    say(f"docker compose up --wait: {timed(start)}, training included")
    trainer = stack.inspect("trainer")["State"]
    assert trainer["ExitCode"] == 0
    say(f"trainer: exit code 0 after {seconds(trainer['FinishedAt']) - seconds(trainer['StartedAt']):.1f} s")
    state = stack.inspect("server")["State"]
    assert state["Health"]["Status"] == "healthy"
    ready = next(stamp for stamp, text in stack.logs("server") if "vaeserve ready" in text)
    say(f"server: ready {ready - seconds(state['StartedAt']):.2f} s after the start of its container")
    say(f"server, idle: {stack.stats('server')['MemUsage']}")


def sample(stack: Stack) -> None:
    """A client outside the container gets a PNG, and the same one by either door."""
    with Client(stack.grpc) as client:
        (model,) = client.models()
        (png,) = client.sample(model.name, 1, seed=7, format="png").png
    asked = {"count": 1, "seed": 7, "imageFormat": "IMAGE_FORMAT_PNG"}
    answer = traffic.call(stack.http, "Sample", **asked)
    (over_http,) = answer["images"]["png"]["files"]
    assert base64.b64decode(over_http) == png
    image = Image.open(io.BytesIO(png))
    say(
        f"{model.name} version {model.version}: {image.format} of {image.size[0]}x{image.size[1]}, {len(png)} bytes"
    )


def hardened(stack: Stack) -> None:
    """Read-only root, no capabilities, no new privileges, not root, within limits."""
    for service in ("server", "trainer", "prometheus"):
        host = stack.inspect(service)["HostConfig"]
        assert host["ReadonlyRootfs"]
        assert host["CapDrop"] == ["ALL"]
        assert host["SecurityOpt"] == ["no-new-privileges:true"]
        assert host["Memory"]
        assert host["NanoCpus"]
        assert host["PidsLimit"]
    inside = stack.compose(
        "exec", "-T", "server", "sh", "-c", "id -u; grep -E 'Cap(Eff|Bnd)' /proc/1/status"
    ).stdout
    assert inside.split()[0] == "10001", inside
    assert set(inside.split()[2::2]) == {"0" * 16}, inside
    touched = stack.compose("exec", "-T", "server", "touch", "/opt/file", "/models/file", check=False)
    assert touched.returncode
    assert touched.stderr.count("Read-only file system") == 2, touched.stderr
    say("uid 10001, no capabilities, root and models read-only, limits for memory, CPU and processes")


def watched(stack: Stack) -> None:
    """Prometheus scrapes it, and under load every panel has data."""
    until(lambda: live_prometheus.query(stack.prometheus, 'up{job="vaeserve"} == 1'), 60)
    memory, cpu = [], []
    with ThreadPoolExecutor(4) as pool:
        loads = [pool.submit(traffic.exercise, stack.grpc, stack.http, seconds=60.0) for _ in range(4)]
        while not all(load.done() for load in loads):
            stats = stack.stats("server")
            memory.append(stats["MemUsage"].split()[0])
            cpu.append(float(stats["CPUPerc"].rstrip("%")))
        wanted = monitoring.expressions(tools.ROOT)
        empty = [
            t for t, e in wanted if not live_prometheus.query(stack.prometheus, monitoring.substituted(e))
        ]
    say(
        f"{sum(load.result() for load in loads)} calls in 60 s by 4 Python clients; CPU {max(cpu):.0f} %, memory {memory[-1]}"
    )
    assert not empty, empty
    say(
        f"{len(wanted)} expressions of the dashboard have data; alerts firing: {sorted(stack.alerts()) or 'none'}"
    )


def stop_under_load(stack: Stack) -> None:
    """SIGTERM: what was accepted is answered, by either door, and the exit code is 0."""
    calls: list[tuple[float, float, str]] = []
    over = threading.Event()
    with ThreadPoolExecutor(8) as pool:
        for _ in range(4):
            pool.submit(_call_until, over, stack.grpc, calls)
            pool.submit(_post_until, over, stack.http, calls)
        time.sleep(3)
        start = time.monotonic()
        stack.compose("stop", "server")
        took = timed(start)
        over.set()
    state = stack.inspect("server")["State"]
    assert (state["ExitCode"], state["OOMKilled"]) == (0, False), state
    told = max(stamp for stamp, text in stack.logs("server") if "stopping:" in text)
    # A call needs a moment to arrive: one sent in the last 50 ms may have come too late to be accepted.
    accepted = [(end, code) for start, end, code in calls if start < told - 0.05]
    underway = sum(end > told for end, _ in accepted)
    assert underway, "no call was under way"
    assert {code for _, code in accepted} == {"OK"}, Counter(code for _, code in accepted)
    later = Counter(code for start, _, code in calls if start >= told - 0.05)
    say(
        f"exit code 0 after {took}; {len(accepted)} calls before SIGTERM, {underway} of them under way: all answered"
    )
    say(f"calls after SIGTERM: {dict(later)}")


def _call_until(over: threading.Event, address: str, calls: list[tuple[float, float, str]]) -> None:
    """One call after the other, without retries: when each began and ended, and its code."""
    with grpc.insecure_channel(address) as channel:
        stub = VaeServiceStub(channel)
        while not over.is_set():
            start, code = time.time(), "OK"
            try:
                stub.Sample(pb.SampleRequest(count=ROWS), timeout=30)
            except grpc.RpcError as exc:
                code = exc.code().name
                time.sleep(0.01)
            calls.append((start, time.time(), code))


def _post_until(over: threading.Event, address: str, calls: list[tuple[float, float, str]]) -> None:
    """The same over HTTP, each call on a connection of its own."""
    while not over.is_set():
        start, code = time.time(), "OK"
        try:
            traffic.call(address, "Sample", count=ROWS)
        except urllib.error.HTTPError as exc:
            code = json.load(exc)["code"]
        except (OSError, http.client.HTTPException) as exc:
            code = type(exc).__name__
        if code != "OK":
            time.sleep(0.01)
        calls.append((start, time.time(), code))


def alert(stack: Stack) -> None:
    """The stopped server fires the alert; started again, it goes."""
    start = time.monotonic()
    until(lambda: "VaeServerDown" in stack.alerts(), 150, pause_s=1)
    say(f"VaeServerDown fires {timed(start)} after the stop")
    start = time.monotonic()
    stack.compose("up", "-d", "--wait")
    assert any("nothing to train" in text for _, text in stack.logs("trainer"))
    until(lambda: "VaeServerDown" not in stack.alerts(), 60, pause_s=1)
    say(f"started again (nothing to train) and resolved after {timed(start)}")


def upgrade_model(stack: Stack) -> None:
    """A new version of the model is taken while serving, a bad one is refused, and both are rolled back."""
    export = ("--run", "/runs/digits", "--repository", "/models", "--name", "digits")
    stack.compose("run", "--rm", "--no-deps", "--entrypoint", "vae-train", "trainer", "export", *export)
    _serves(stack, 2)
    say("exported version 2: in service without a restart")
    _in_repository(stack, "cp -r digits/2 digits/3 && sed -i s/digits/digitz/ digits/3/manifest.json")
    until(lambda: "VaeReloadRefused" in stack.alerts(), 120, pause_s=1)
    _serves(stack, 2)
    refusal = next(text for _, text in stack.logs("server") if " refused: " in text)
    say(f"broken version 3: VaeReloadRefused fires, version 2 goes on; logged: {refusal.split(': ', 1)[1]}")
    _in_repository(stack, "rm -r digits/2 digits/3")
    _serves(stack, 1)
    until(lambda: "VaeReloadRefused" not in stack.alerts(), 60, pause_s=1)
    say("versions 2 and 3 removed: version 1 is in service again, the alert is gone")


def _serves(stack: Stack, version: int) -> None:
    with Client(stack.grpc) as client:
        until(lambda: client.sample("digits", 1).model.version == version, 60)


def _in_repository(stack: Stack, command: str) -> None:
    shell = ("--rm", "--no-deps", "--entrypoint", "sh", "-w", "/models", "trainer", "-c", command)
    stack.compose("run", *shell)


def upgrade_image(stack: Stack) -> None:
    """Another tag and back, in two commands; the model stays."""
    for image in (SERVER, TRAINER):
        stack.run("tag", image, image.replace(VERSION, f"{VERSION}-next"))
    for tag in (f"{VERSION}-next", VERSION):
        start = time.monotonic()
        stack.compose("up", "-d", "--wait", "--no-build", VAESERVE_TAG=tag)
        assert stack.inspect("server")["Config"]["Image"] == f"vaeserve:{tag}-cpu"
        _serves(stack, 1)
        say(f"VAESERVE_TAG={tag}: in service after {timed(start)}")


def bad_input(stack: Stack) -> None:
    """Whatever is wrong, one line says so and nothing restarts for ever."""
    stack.compose("stop", "server")
    refused = stack.compose("up", "-d", "--wait", "server", check=False, VAE_THREADS="many")
    container = until(lambda: _ended(stack), 90)
    assert container
    say(
        f"VAE_THREADS=many: up --wait ends with {refused.returncode}, {container['RestartCount']} restarts: {_said(stack)}"
    )
    assert refused.returncode
    assert container["RestartCount"] <= 5
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused = stack.compose("up", "-d", "--wait", "server", check=False, GRPC_PORT=port)
        assert refused.returncode
        say(f"taken port: {last_line(refused)}")
    for title, code, command in _refusals(stack):
        done = stack.run("run", "--rm", "--read-only", "--cap-drop", "ALL", *command, check=False)
        assert done.returncode == code, (title, done)
        say(f"{title}: exit code {code}: {last_line(done)}")
    stack.compose("up", "-d", "--wait")


def _ended(stack: Stack) -> dict[str, Any] | None:
    container = stack.inspect("server")
    return container if container["State"]["Status"] == "exited" else None


def _said(stack: Stack) -> str:
    return stack.logs("server")[-1][1]


def _refusals(stack: Stack) -> list[tuple[str, int, tuple[str, ...]]]:
    """What, exit code, and the command that brings it about."""
    cuda = f"vaeserve:{VERSION}-cuda"
    if stack.run("image", "inspect", cuda, check=False).returncode:
        cuda = SERVER
        say(f"the CUDA image is not built: {cuda} stands in for it")
    newer = Path(tempfile.mkdtemp(prefix="vaeserve-")) / "digits/1"
    newer.mkdir(parents=True)
    (newer / "manifest.json").write_text(json.dumps({"format": 99}))
    for folder in (newer, newer.parent, newer.parents[1]):
        folder.chmod(0o755)
    return [
        ("empty repository", 2, ("--tmpfs", "/models", SERVER)),
        ("a bundle newer than the server", 2, ("-v", f"{newer.parents[1]}:/models:ro", SERVER)),
        ("no GPU", 2, ("-e", "VAE_PROVIDER=cuda", cuda)),
        (
            "unwritable repository",
            2,
            ("--tmpfs", "/models:mode=555", "--entrypoint", "first-bundle", TRAINER),
        ),
    ]


STEPS: tuple[Callable[[Stack], None], ...] = (
    build, first_start, sample, hardened, watched, stop_under_load, alert, upgrade_model, upgrade_image, bad_input,
)  # fmt: skip


def main(wanted: list[str]) -> int:
    steps = [step for step in STEPS if not wanted or step.__name__ in wanted]
    if unknown := set(wanted) - {step.__name__ for step in STEPS}:
        print(f"no step {', '.join(sorted(unknown))}; there are {', '.join(s.__name__ for s in STEPS)}")
        return 2
    if subprocess.run(("docker", "info"), capture_output=True, check=False).returncode:
        print("want a Docker engine: `docker info` fails")
        return 2
    stack = Stack()
    try:
        for step in steps:
            print(f"== {step.__name__}: {step.__doc__}", flush=True)
            step(stack)
    finally:
        stack.down()
    print(f"all {len(steps)} steps passed")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
