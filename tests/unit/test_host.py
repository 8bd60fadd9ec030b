"""What the process may have of its host: lines in a log, open files."""

import logging
import resource
import shlex
import subprocess
import sys

import pytest

from serving.host import logs
from tests.support import process


@pytest.fixture
def spared(monkeypatch):
    """A logger, the lines that pass, and the clock."""
    now = [0.0]
    monkeypatch.setattr("serving.host.logs.time.monotonic", lambda: now[0])
    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    handler.addFilter(logs.Sparing())
    logger = logging.Logger("spared")  # noqa: LOG001  # of no other test
    logger.addHandler(handler)
    return logger, lines, now


def test_lines_of_one_kind_are_few(spared):
    """What a stranger can repeat does not fill the disk; that lines are missing is said, and how many."""
    logger, lines, now = spared
    for number in range(1000):
        logger.error("one kind, %d", number)
    assert lines == [f"one kind, {number}" for number in range(10)]
    logger.error("another kind")
    assert lines[-1] == "another kind"
    now[0] = 10.0
    for number in range(1000):
        logger.error("one kind, %d", number)
    assert len(lines) == 21
    assert lines[10] == "another kind"


def test_what_was_left_out_is_said(spared):
    """With the next line of that kind, in a later while."""
    logger, lines, now = spared
    for number in range(25):
        now[0] = 0.0 if number < 24 else 11.0
        logger.warning("line %d", number)
    assert lines[10:] == ["line 24 (and 14 more like it in the time before)"]


def test_the_news_of_the_server_is_never_left_out(spared):
    """A repository of a hundred models tells of each."""
    logger, lines, _ = spared
    for number in range(100):
        logger.info("model %d ready", number)
    assert len(lines) == 100


@pytest.mark.parametrize(("limit", "connections"), [(300, 118), (2064, 1000), (5000, 1000)])
def test_connections_leave_descriptors_for_the_rest(limit, connections):
    """Each of two doors has half of the files that may be open, but for 64, whatever --max-connections says."""
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (min(200, %d), %d));"
        "from serving.host.descriptors import connections_that_fit; print(connections_that_fit(1000, 2))"
    )
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] >= limit
    done = subprocess.run(
        [sys.executable, "-c", code % (limit, limit)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(connections)


def serving_with(repository, shell, *flags):
    """The server, as a shell starts it: what is on stderr, and how it ends when it is told to 1 s after the ready
    line or the warning that stands for it."""
    command = shlex.join(process.command(repository, *flags))
    with subprocess.Popen(
        ["bash", "-c", shell.format(command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        lines = []
        for line in server.stderr:
            lines.append(line)
            if "stdout:" in line:
                server.terminate()
                break
        lines += server.stderr.readlines()
    return server.returncode, "".join(lines)


@pytest.mark.parametrize(
    "shell", ["exec {} >/dev/full", "exec {} <&- >&-", "cd $(mktemp -d); rmdir $PWD; exec {} >&-"]
)
@pytest.mark.parametrize("workers", ["1", "2"])
def test_stdout_is_not_needed_nor_a_working_directory(repository, shell, workers):
    """The ready line goes to the log instead, and the server serves and stops as ever."""
    code, log = serving_with(repository, shell, "--workers", workers)
    assert code == 0, log
    assert log.count("vaeserve ready: grpc=127.0.0.1:") == 1
    assert "Traceback" not in log
    assert "Exception" not in log


def test_too_few_descriptors_are_said(repository):
    """In a line, before a library that lacks one ends the process."""
    code, log = serving_with(repository, "ulimit -n 40; exec {}")
    assert code == 2, log
    assert log.splitlines()[-1] == (
        "vae-serve: error: open files (ulimit -n): want 66 and more, this process may have 40"
    )
