"""The page's files as they are read, and the forms in which they are sent."""

import gzip

import pytest

from serving.doors.http.explorer_addresses import has_already, takes_gzip
from serving.errors import StartupError
from serving.explorer import page_files
from serving.explorer.page_files import FOLDER, TYPES, read_page


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "index.html").write_text("<!doctype html>" + "a" * 500)
    (tmp_path / "core").mkdir()
    (tmp_path / "core/a.js").write_text("1")
    return tmp_path


def test_every_file_in_its_forms(folder):
    """By its path; packed only where that is smaller; a tag that changes with the content and nothing else."""
    before, again = read_page(folder), read_page(folder)
    assert before == again
    assert set(before) == {"index.html", "core/a.js"}
    page, script = before["index.html"], before["core/a.js"]
    assert gzip.decompress(page.packed) == page.plain
    assert len(page.packed) < len(page.plain)
    assert (script.packed, script.media_type) == (None, "text/javascript; charset=utf-8")
    (folder / "core/a.js").write_text("2")
    after = read_page(folder)
    assert after["core/a.js"].tag != script.tag
    assert after["index.html"] == page


def test_what_is_left_lying_about_is_not_served(folder):
    """Backups of editors, hidden files and folders, what has no type of the web."""
    for name in (".secret.js", "a.js~", "a.js.swp", "notes.md", "a.py", "core/.a.js.html"):
        (folder / name).write_text("x")
    (folder / ".git").mkdir()
    (folder / ".git/a.js").write_text("x")
    (folder / "folder.js").mkdir()
    assert set(read_page(folder)) == {"index.html", "core/a.js"}


def test_a_page_that_is_not_there_is_told_of(tmp_path, monkeypatch):
    """One line that names the setting: no index, no folder at all, a file that is none of a page."""
    for place in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(StartupError, match=r"--explorer: its page is not installed: want index\.html in"):
            read_page(place)
    monkeypatch.setattr(page_files, "_LARGEST_FILE", 1 << 20)
    (tmp_path / "index.html").write_bytes(bytes((1 << 20) + 1))
    with pytest.raises(StartupError, match=r"--explorer: 'index\.html': want at most 1 MiB"):
        read_page(tmp_path)


def test_ours_is_whole():
    """Every file that is checked in is served: none has an ending that was forgotten."""
    there = {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*") if path.is_file()}
    assert there == set(read_page())
    assert {path.rpartition(".")[2] for path in there} <= {ending[1:] for ending in TYPES}


@pytest.mark.parametrize(
    ("accepted", "wanted"),
    [
        ("gzip", True), ("br, GZIP", True), ("gzip;q=0.5", True), ("gzip; q=1.0", True), ("*", True),
        ("deflate, *;q=0.1", True), ("", False), ("br", False), ("gzip;q=0", False), ("gzip; q=0.000", False),
        ("*;q=0", False), ("*, gzip;q=0", False), ("gzippy", False), (";;,,=", False),
    ],
)  # fmt: skip
def test_who_takes_gzip(accepted, wanted):
    """RFC 9110, section 12.5.3."""
    assert takes_gzip(accepted) is wanted


@pytest.mark.parametrize(
    ("tags", "known"),
    [
        ('"a"', True), ('W/"a"', True), ('"b", "a"', True), ("*", True), ("", False), ('"b"', False),
        ("a", False), ('"ab"', False), ('W/"b" , W/"a"', True),
    ],
)  # fmt: skip
def test_who_has_it_already(tags, known):
    """RFC 9110, section 13.1.2: by weak comparison."""
    assert has_already(tags, '"a"') is known
