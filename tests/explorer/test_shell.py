"""What all views stand in: the choice of a model, restarts of the server, new versions."""

import shutil
import socket

import numpy as np
import pytest

from tests.explorer import moving
from tests.explorer.browser import visiting
from tests.explorer.looking import fragment_of, wait_for_fragment
from tests.explorer.trained import DIGITS
from tests.support import toy, toy_table
from tests.support.process import serving


@pytest.fixture
def port():
    """One that is free; a server that restarts is to be found there again."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def test_another_model_is_chosen(visit):
    """From the list; the address names it, the view is its own, and back returns."""
    page = visit("view=map&model=digits").page
    image = moving.decoded(page)
    page.get_by_label("Model", exact=True).select_option(label="digits-ae · version 1")
    wait_for_fragment(page, "model", "digits-ae")
    assert (moving.decoded(page) != image).any()
    page.go_back()
    wait_for_fragment(page, "model", "digits")
    np.testing.assert_array_equal(moving.decoded(page), image)


def test_a_model_that_is_not_there(visit):
    """An address that names one is told of in words, and the first model is shown."""
    page = visit("view=map&model=nobody&version=3").page
    page.locator("#status").filter(has_text="“nobody”, which is not in service").wait_for()
    moving.map_of(page)


def test_views_by_keyboard(visit):
    """Tab reaches the list of views, Enter opens one, and what a screen reader reads next is its heading."""
    page = visit("view=map&model=digits").page
    moving.map_of(page)
    page.get_by_role("link", name="Walk").focus()
    page.keyboard.press("Enter")
    page.locator(".walk-frames img.big[src]").wait_for()
    assert page.evaluate("document.activeElement.textContent") == "Walk"
    assert page.get_by_role("link", name="Walk").get_attribute("aria-current") == "page"


def test_the_page_survives_a_restart(visit, browser, repository, port):
    """While the server is away it is said so; what was wished meanwhile is shown once it is back."""
    flags = ("--http-address", f"127.0.0.1:{port}")
    with serving(repository, *flags) as first:
        page = visit("view=map&model=digits", address=first.http_address).page
        image = moving.decoded(page)
        first.terminate()
        moving.point(page, 0.3, 0.3)
        page.get_by_role("alert").filter(has_text="The server does not answer").wait_for()
    moving.point(page, 0.6, 0.6)
    with serving(repository, *flags):
        page.locator("#status").filter(has_text="The server is back").wait_for()
        assert (moving.decoded(page) != image).any()
        moving.point(page, 0.4, 0.7)
        moving.decoded(page)


def test_a_new_version_is_noticed(visit, browser, repository, tmp_path):
    """It is said so and the view shows it, at the same place of the map."""
    root = tmp_path / "models"
    shutil.copytree(repository / DIGITS, root / DIGITS)
    with serving(root, "--reload-s", "1") as server:
        page = visit("view=map&model=digits", address=server.http_address).page
        moving.point(page, 0.4, 0.4)
        where = fragment_of(page)["probe"]
        toy.make_bundle(root, DIGITS, 2, projection=toy.projection(30))
        page.locator("#status").filter(has_text="digits is served in a new version, 2").wait_for()
        assert (
            "version 2" in page.get_by_label("Model", exact=True).inner_text()
            or "newest (2)" in page.get_by_label("Model", exact=True).inner_text()
        )
        assert fragment_of(page)["probe"] == where


def test_who_has_no_token(visit, browser, tmp_path):
    """What no header can carry is refused in words at once; who cancels is told so, and not asked again."""
    toy.make_bundle(tmp_path / "models")
    (tmp_path / "token").write_text("secret")
    with serving(tmp_path / "models", "--auth-token-file", str(tmp_path / "token")) as server:
        page = visit("view=map", address=server.http_address).page
        field = page.get_by_label("Token", exact=True)
        field.fill("pässword 密码")
        field.press("Enter")
        page.get_by_text("letters, digits and signs of ASCII").wait_for()
        page.get_by_role("button", name="Cancel").click()
        page.get_by_role("alert").filter(has_text="Without a token the server answers nothing").wait_for()
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        assert page.locator("dialog").count() == 0


def test_tables_are_left_out(browser, tmp_path):
    """A model of other data beside one of images is not in the list, and one that the address names is told of;
    alone, it is said that there is nothing to show."""
    toy_table.make_bundle(tmp_path / "tables")
    shutil.copytree(tmp_path / "tables", tmp_path / "both")
    toy.make_bundle(tmp_path / "both")
    address = "view=sample&model=people"
    with serving(tmp_path / "both") as server, visiting(browser, server.http_address, address) as visit:
        visit.page.locator("#status").filter(has_text="“people”, which is not of images").wait_for()
        shown = visit.page.get_by_label("Model", exact=True).locator("option")
        assert shown.all_inner_texts() == ["toy · version 1"]
    with serving(tmp_path / "tables") as server, visiting(browser, server.http_address, address) as visit:
        visit.page.locator("#status").filter(has_text="No model of images is in service").wait_for()
