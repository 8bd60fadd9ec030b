"""Files read by processes: the same pixels in the same order, whatever happens to a process."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from serving.pictures.picture_files import PictureError, read
from tests.support import patience
from training.config import FitConfig
from training.modalities import load
from training.modalities.image.data import memory_mapped, picture_readers
from training.modalities.image.data.picture_readers import PictureReaders

ROOT = Path(__file__).parents[2]
RANDOM = np.random.default_rng(0)


@pytest.fixture
def files(tmp_path) -> list[Path]:
    """Colour and grey, of several sizes and names, one that is no picture, one cut short, one that is gone."""
    paths = []
    for number in range(24):
        path = tmp_path / "in" / f"{number:02} ü\udc80.png"
        path.parent.mkdir(exist_ok=True)
        shape = (8 + number, 12, 3) if number % 3 else (9, 7 + number)
        Image.fromarray(RANDOM.integers(0, 256, shape, dtype=np.uint8)).save(path)
        paths.append(path)
    paths[3].write_bytes(b"not a picture")
    paths[7].write_bytes(paths[7].read_bytes()[:-60])
    paths[11].unlink()
    return paths


@pytest.fixture(autouse=True)
def always_processes(monkeypatch):
    monkeypatch.setattr(picture_readers, "FEWEST_FILES", 1)


def expected(files: list[Path], size: tuple[int, int] | None) -> list[object]:
    found: list[object] = []
    for file in files:
        try:
            found.append(read(file, size).tolist())
        except PictureError as exc:
            found.append(str(exc))
    return found


def came(readers: PictureReaders, files: list[Path]) -> list[object]:
    return [str(one) if isinstance(one, PictureError) else one.tolist() for one in readers.read(files)]


@pytest.mark.parametrize("size", [None, (6, 5)], ids=str)
def test_processes_read_what_we_would_have_read(files, size):
    """Pixels, order and the reasons of what cannot be read are the same."""
    with PictureReaders(len(files), size) as readers:
        assert came(readers, files) == expected(files, size)
        pids = [reader._process.pid for reader in readers._readers if reader._process]
    assert pids
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)  # waited for, so not even a zombie


def test_fewer_files_than_processes(files):
    """One file is read by one process, none by none."""
    with PictureReaders(1, None) as readers:
        assert len(readers._readers) == 1
        assert came(readers, files[:1]) == expected(files[:1], None)
    with PictureReaders(0, None) as readers:
        assert came(readers, []) == []


def test_a_killed_process_costs_no_file(files):
    """Its file is read by the next one."""
    with PictureReaders(len(files), None) as readers:
        assert came(readers, files) == expected(files, None)
        for reader in readers._readers:
            if reader._process:
                os.kill(reader._process.pid, signal.SIGKILL)
                reader._process.wait()
        assert came(readers, files) == expected(files, None)


def test_a_file_that_kills_its_reader_is_left_out(files, monkeypatch):
    """Twice, then it counts as one that cannot be read; all others are read as ever."""
    deadly = (
        "import os, json, sys\n"
        "from serving.pictures import picture_worker as worker\n"
        "read = worker.read\n"
        "def hostile(file, size):\n"
        "    if file.name.startswith('05'): os.kill(os.getpid(), 11)\n"
        "    return read(file, size)\n"
        "worker.read = hostile\n"
        "worker.main()\n"
    )
    monkeypatch.setattr(
        picture_readers, "_PROGRAM", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{deadly}"
    )
    wanted = expected(files, None)
    with PictureReaders(len(files), None) as readers:
        found = came(readers, files)
    assert "cannot be read as an image: the process that reads it ended with SIGSEGV" in str(found[5])
    assert found[:5] + found[6:] == wanted[:5] + wanted[6:]


def test_who_stops_half_way_leaves_no_process(files):
    """An error of the one who reads the pixels ends the processes with it."""
    pids: list[int] = []

    def stopped_half_way() -> None:
        with PictureReaders(len(files), None) as readers:
            next(readers.read(files))
            pids.extend(reader._process.pid for reader in readers._readers if reader._process)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        stopped_half_way()
    assert pids
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def readers_of(pid: int) -> list[int]:
    """Children of all its threads that run the readers' program."""
    listed = Path(f"/proc/{pid}/task").glob("*/children")
    found = [int(child) for children in listed for child in children.read_text().split()]
    return [child for child in found if b"picture_worker" in Path(f"/proc/{child}/cmdline").read_bytes()]


def is_alive(pid: int) -> bool:
    """Not so if it waits for a container's first process to take note of its end."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_ctrl_c_while_a_cache_is_made_leaves_nothing(tmp_path):
    """Neither a process nor half a cache: the next one makes it from the beginning."""
    picture = Image.fromarray(RANDOM.integers(0, 256, (1500, 1500, 3), dtype=np.uint8))
    (tmp_path / "in").mkdir()
    picture.save(tmp_path / "in/000.png")
    for number in range(1, 400):
        os.link(tmp_path / "in/000.png", tmp_path / f"in/{number:03}.png")
    command = [sys.executable, "-m", "training", "fit", "--data", str(tmp_path / "in"), "--in-memory", "no"]
    command += ["--image-size", "8", "--cache-dir", str(tmp_path / "cache"), "--run", str(tmp_path / "run")]
    with subprocess.Popen(command, cwd=ROOT, start_new_session=True, stderr=subprocess.PIPE) as process:
        patience.wait_until(lambda: readers_of(process.pid))
        readers = readers_of(process.pid)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
        process.communicate()
    assert process.returncode != 0
    assert not any(is_alive(pid) for pid in readers)
    assert list((tmp_path / "cache/mapped").iterdir()) == []
    assert not (tmp_path / "run").exists()


def test_many_bytes_of_files_are_decoded_once(tmp_path, files, monkeypatch):
    """By default large files that are scaled go through the cache; what stays as it is does not."""
    monkeypatch.setattr(memory_mapped, "LIMIT_OF_FILES", 100)
    scaled = FitConfig(data=str(tmp_path / "in"), cache_dir=tmp_path / "cache", image_size=(8, 8))
    assert load(scaled).mapped
    assert not load(scaled.model_copy(update={"in_memory": "yes"})).mapped
    monkeypatch.setattr(memory_mapped, "LIMIT_OF_FILES", 10**9)
    assert not load(scaled).mapped
