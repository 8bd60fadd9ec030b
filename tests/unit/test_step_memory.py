"""The memory that is left, as a container's limits have it."""

import pytest

from training.models import step_memory

GIB = 1 << 30
V1 = {"memory/memory.limit_in_bytes": f"{4 * GIB}\n", "memory/memory.usage_in_bytes": f"{3 * GIB}\n"}


@pytest.mark.parametrize(
    ("files", "left"),
    [
        ({"memory.max": f"{2 * GIB}\n", "memory.current": f"{GIB}\n"}, GIB),
        (
            {
                "memory.max": f"{2 * GIB}\n",
                "memory.current": f"{2 * GIB}\n",
                "memory.stat": f"anon 5\ninactive_file {GIB // 2}\n",
            },
            GIB // 2,
        ),
        ({"memory.max": "max\n", "memory.current": f"{GIB}\n"}, None),
        (V1, GIB),
        (V1 | {"memory/memory.stat": f"inactive_file 7\ntotal_inactive_file {GIB}\n"}, 2 * GIB),
        ({"memory.max": "max\n", **V1}, GIB),
        ({"memory.max": f"{2 * GIB}\n"}, None),
        ({}, None),
    ],
    ids=[
        "v2",
        "v2 with idle files",
        "v2 without a limit",
        "v1",
        "v1 with idle files",
        "both",
        "half",
        "none",
    ],
)
def test_what_a_container_leaves(tmp_path, files, left):
    """Its limit less what is used, plus pages of files that nobody uses; None where there is no limit."""
    for name, text in files.items():
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    assert step_memory._of_cgroup(tmp_path) == left
