import math
import os

import pytest

from serving.host.memory import limit_bytes, private_bytes, resident_bytes


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"memory.max": "1073741824\n"}, 1 << 30),
        ({"memory.max": "max\n"}, math.inf),
        ({"memory/memory.limit_in_bytes": "536870912\n"}, 1 << 29),
        ({}, math.inf),
    ],
    ids=["v2", "v2, no limit", "v1", "no cgroup"],
)
def test_the_limit_is_the_containers(tmp_path, files, limit):
    """cgroup v2 first, then v1; none is no limit."""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert limit_bytes(tmp_path) == limit


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="the system does not tell")
def test_private_memory_is_what_was_allocated():
    """Libraries are not counted, what is written to is; a process that is gone has none."""
    assert private_bytes(os.getpid()) < resident_bytes()
    before = private_bytes()
    block = bytearray(os.urandom(1) * (64 << 20))
    assert private_bytes() - before > len(block) // 2
    assert private_bytes(1 << 30) == 0
