"""serving.pictures.picture_folders: which files of a folder are pictures, for everybody alike."""

import os
from pathlib import Path

import pytest

from serving.pictures.picture_files import PictureError, read
from serving.pictures.picture_folders import FolderError, LeftOut, left_out_line, listing


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def names(root: Path) -> list[str]:
    return [str(file.relative_to(root)) for file in listing(root).files]


def test_any_ending_in_order_of_the_paths(tmp_path):
    """Nothing is judged by its ending; folders come in the order of their names."""
    touch(tmp_path, "b/2.jfif", "b/1.png", "a.b/x", "a/img", "c.heic", "labels.csv")
    assert names(tmp_path) == ["a/img", "a.b/x", "b/1.png", "b/2.jfif", "c.heic", "labels.csv"]
    assert not listing(tmp_path).left_out


def test_junk_of_operating_systems_is_passed_over(tmp_path):
    """Hidden files, resource forks, thumbnails: no data, so not even counted."""
    touch(
        tmp_path, ".DS_Store", "cat/Thumbs.db", "cat/._00.png", "__MACOSX/cat/._00.png", "__MACOSX/cat/00.png"
    )
    touch(tmp_path, ".ipynb_checkpoints/1.png", "@eaDir/00.png/THUMB.jpg", "cat/desktop.ini", "cat/00.png")
    assert names(tmp_path) == ["cat/00.png"]
    assert not listing(tmp_path).left_out


def test_a_name_with_underscores_is_no_junk(tmp_path):
    """Only the names that systems are known to leave behind are."""
    touch(tmp_path, "__00.png", "__cats/1.png")
    assert names(tmp_path) == ["__00.png", "__cats/1.png"]


def test_a_folder_with_the_name_of_a_picture(tmp_path):
    """Is neither a picture nor a class, and that is said."""
    touch(tmp_path, "00.png/thumb.jpg", "1.png")
    found = listing(tmp_path)
    assert names(tmp_path) == ["1.png"]
    assert found.left_out == [LeftOut(tmp_path / "00.png", "a folder with the name of a picture")]


def test_links_are_followed_but_not_in_circles(tmp_path):
    """To files and to folders; a circle and a link to nowhere are named."""
    touch(tmp_path, "elsewhere/1.png", "data/cat/2.png")
    data = tmp_path / "data"
    (data / "bird").symlink_to(tmp_path / "elsewhere")
    (data / "3.png").symlink_to(tmp_path / "elsewhere/1.png")
    (data / "cat/up").symlink_to(data)
    (data / "self").symlink_to(data / "self")
    (data / "gone.png").symlink_to("/nowhere.png")
    found = listing(data)
    assert names(data) == ["3.png", "bird/1.png", "cat/2.png"]
    assert [(str(path.relative_to(data)), reason) for path, reason in found.left_out] == [
        ("cat/up", "a link to a folder that it lies in"),
        ("gone.png", "No such file or directory"),
        ("self", "Too many levels of symbolic links"),
    ]


def test_what_is_no_file_is_not_waited_for(tmp_path):
    """A named pipe would never answer."""
    os.mkfifo(tmp_path / "pipe.png")
    assert listing(tmp_path).left_out == [LeftOut(tmp_path / "pipe.png", "no regular file")]


def test_names_that_are_not_utf8(tmp_path):
    """They are files like any other."""
    touch(tmp_path, os.fsdecode(b"gr\xfcn.png"))
    assert [os.fsencode(file.name) for file in listing(tmp_path).files] == [b"gr\xfcn.png"]


def test_a_folder_that_cannot_be_read_is_named(tmp_path):
    """Half a data set is none."""
    with pytest.raises(FolderError, match=r"none: cannot be read: No such file or directory$"):
        listing(tmp_path / "none")


def test_what_is_left_out_is_counted_and_named(tmp_path):
    """How many of how many, and the first few with what is wrong."""
    left_out = [LeftOut(tmp_path / f"a/{number}.csv", "no format") for number in range(5)]
    line = left_out_line(tmp_path, left_out[:2], 9)
    assert line == (
        f"{tmp_path}: skipped 2 of 9 files that cannot be read as images: a/0.csv (no format); a/1.csv (no format)"
    )
    assert left_out_line(tmp_path, left_out, 9).endswith("a/2.csv (no format); …")


def test_folders_deeper_than_pythons_calls(tmp_path, monkeypatch):
    """What a runaway script has nested is listed to its end."""
    monkeypatch.chdir(tmp_path)
    for _ in range(1200):
        os.mkdir("a")
        os.chdir("a")
    Path("x.png").touch()
    try:
        assert names(tmp_path) == ["a/" * 1200 + "x.png"]
    finally:  # what clears up after tests recurses too
        Path("x.png").unlink()
        for _ in range(1200):
            os.chdir("..")
            os.rmdir("a")


def test_a_name_breaks_no_line(tmp_path):
    """Line feeds and orders to the terminal in a file's name are shown as escapes, other letters as they are."""
    file = tmp_path / "a\nb\x1b[31m\u2028ü\u202fk.png"
    file.write_text("none")
    shown = "a\\nb\\x1b[31m\\u2028ü\u202fk.png"
    assert shown in left_out_line(tmp_path, [LeftOut(file, "no picture")], 1)
    with pytest.raises(PictureError) as refused:
        read(file)
    assert shown in str(refused.value)
