"""What comes late, in parts, or while nobody is there: slow files, answers that end early, models that come and go."""

import socket

import numpy as np
import pytest

from tests.explorer import uploads
from tests.explorer.browser import canvas_of, image_of
from tests.explorer.looking import answered, as_shown, fragment_of, wait_for_fragment, wall_of
from tests.explorer.test_walk import LARGE, walked
from tests.support import patience, toy
from tests.support.process import serving

_FIRST_IS_SLOW = """
() => {
  const real = window.createImageBitmap;
  const first = new Promise((done) => (window.letGo = done));
  let count = 0;
  window.createImageBitmap = async (...given) => {
    if (!count++) await first;
    const bitmap = await real(...given);
    window.made = (window.made ?? 0) + 1;
    return bitmap;
  };
}
"""
"""The first picture that the browser decodes is there once it is let go."""
_FIRST_IS_CUT = """
(method) => {
  const real = window.fetch;
  let isFirst = true;
  window.fetch = async (path, init) => {
    const response = await real(path, init);
    if (!isFirst || !path.endsWith(method)) return response;
    isFirst = false;
    window.wasCut = true;
    return new Response(new ReadableStream({ start: (body) => body.error(new TypeError('network error')) }), response);
  };
}
"""
"""Of the first answer of a method no more than its head arrives."""
_SETTLED = "new Promise((done) => setTimeout(() => requestAnimationFrame(() => requestAnimationFrame(done))))"


def slow_then_quick(page, first, second):
    """Chooses two files; the first is decoded after the second."""
    page.evaluate(_FIRST_IS_SLOW)
    for content in (first, second):
        uploads.choose(page, content)
    page.wait_for_function("() => window.made === 1")
    page.evaluate("window.letGo()")
    page.wait_for_function("() => window.made === 2")
    page.evaluate(_SETTLED)


@pytest.fixture
def black():
    return uploads.png(np.zeros((8, 8), np.uint8))


@pytest.fixture
def white():
    return uploads.png(np.full((8, 8), 255, np.uint8))


def test_the_newest_file_is_encoded(visit, black, white):
    """However long an earlier one takes to be read."""
    page = visit("view=encode&model=digits").page
    answered(page)
    slow_then_quick(page, black, white)
    answered(page)
    assert (canvas_of(page.get_by_role("img", name="The image as the model gets it"))[..., :3] == 255).all()


def test_points_come_in_the_order_of_the_files(visit, client, black, white):
    """A walk passes them as they were chosen, not as they were read."""
    page = visit("view=walk&model=digits&steps=1").page
    walked(page, 2)
    slow_then_quick(page, black, white)
    images = walked(page, 4)
    given = np.stack([np.zeros((1, 8, 8), np.uint8), np.full((1, 8, 8), 255, np.uint8)])
    wanted = client.decode("digits", client.encode("digits", given).mean, format="uint8").images
    np.testing.assert_array_equal(images[2:], as_shown(wanted))


@pytest.mark.parametrize("view", ["walk", "vary"])
def test_a_file_that_comes_after_its_view(visit, black, view):
    """Changes nothing of the view that is open by then, nor its address."""
    page = visit(f"view={view}&model=digits").page
    page.locator("input[type=file]").wait_for(state="attached")
    page.evaluate(_FIRST_IS_SLOW)
    uploads.choose(page, black)
    page.get_by_role("link", name="Sample").click()
    wait_for_fragment(page, "seed", "[0-9]+")
    page.evaluate("window.letGo()")
    page.wait_for_function("() => window.made === 1")
    page.wait_for_timeout(600)  # the address is written a moment later, if it is
    assert not {"at", "points", "start"} & set(fragment_of(page))
    assert page.get_by_role("alert").filter(has_text="failed").count() == 0


def test_nothing_is_white_wherever_a_picture_is_taken(visit, client):
    """Walk lays transparent pixels on the same ground as Encode, and training."""
    page = visit("view=walk&model=digits&steps=1").page
    walked(page, 2)
    uploads.choose(page, uploads.half_transparent())
    given = np.full((1, 1, 8, 8), 255, np.uint8)
    given[:, :, :4] = 0
    mean = client.encode("digits", given).mean
    wanted = as_shown(client.decode("digits", mean, format="uint8").images)[0]
    np.testing.assert_array_equal(walked(page, 3)[2], wanted)


def test_a_name_that_is_cut_within_a_letter(visit, black):
    """A file's name is shortened, maybe in the middle of an emoji; the walk goes on."""
    page = visit("view=walk&model=digits&steps=1").page
    walked(page, 2)
    uploads.choose(page, black, name="x" * 39 + "😀.png")
    walked(page, 3)
    wait_for_fragment(page, "points", ".+,x{39}%EF%BF%BD~.+|.+,x{39}\ufffd~.+")


def test_many_points_of_many_latents_are_an_address(visit):
    """Twelve points of 5,000 latents, as anchors of a map are sent to Walk, are read as they were written."""
    page = visit("view=sample&model=digits").page
    read = page.evaluate(
        """async () => {
          const { pointsFromText, pointsToText } = await import('/explorer/core/points.js');
          const points = Array.from({ length: 12 }, (_, row) => ({
            name: `point ${row}`, latent: Float32Array.from({ length: 5000 }, (_, at) => Math.sin(at * (row + 1))),
          }));
          const read = pointsFromText(pointsToText(points), 5000);
          const isSame = (a, b) => a.name === b.name && a.latent.every((value, at) => value === b.latent[at]);
          return read.filter((point, row) => isSame(point, points[row])).length;
        }"""
    )
    assert read == 12


def test_something_is_seen_of_a_slow_model_while_one_drags(visit):
    """Where each picture takes longer than a newer wish waits for it, not all of them are given up."""
    page = visit("view=sample&model=digits").page
    seen = page.evaluate(
        """async () => {
          const { Latest } = await import('/explorer/core/latest.js');
          const latest = new Latest();
          const slow = (signal) => new Promise((done, failed) => {
            setTimeout(done, 900, true);
            signal.addEventListener('abort', () => failed(signal.reason));
          });
          let seen = 0;
          for (const end = performance.now() + 60000; !seen && performance.now() < end; ) {
            latest.run(slow).then((value) => (seen += value === true));
            await new Promise((done) => setTimeout(done, 20));
          }
          return seen;
        }"""
    )
    assert seen == 1


def test_an_answer_that_ends_early_is_asked_for_again(visit, client):
    """As when the server stops in the middle of it."""
    page = visit("view=sample&model=digits&count=4&seed=1").page
    before = wall_of(page, 4)
    page.evaluate(_FIRST_IS_CUT, "Sample")
    page.get_by_label("Seed", exact=True).fill("2")
    page.get_by_label("Seed", exact=True).press("Enter")
    page.locator("#status").filter(has_text="The server is back").wait_for()
    wanted = as_shown(client.sample("digits", 4, seed=2, format="uint8").images)
    patience.wait_until(lambda: page.wait_for_timeout(20) or np.array_equal(wall_of(page, 4), wanted))
    assert page.evaluate("window.wasCut")
    assert not np.array_equal(before, wanted)


def test_a_view_is_opened_while_the_server_is_away(visit, browser, repository):
    """What was never open before is there as well, and fills once the server is back."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        flags = ("--http-address", f"127.0.0.1:{free.getsockname()[1]}")
    with serving(repository, *flags) as first:
        page = visit("view=sample&model=digits&count=4", address=first.http_address).page
        wall_of(page, 4)
        page.wait_for_load_state("networkidle")
        first.terminate()
    page.get_by_role("link", name="Walk").click()
    page.get_by_role("alert").filter(has_text="The server does not answer").wait_for()
    with serving(repository, *flags):
        page.locator(f"{LARGE}[src]").wait_for()


def test_a_second_model_is_compared_once_it_is_there(visit, tmp_path):
    """The page that said there is only one shows both, without being loaded anew."""
    root = tmp_path / "models"
    toy.make_bundle(root)
    with serving(root, "--reload-s", "1") as server:
        page = visit("view=compare&count=4&model=toy", address=server.http_address).page
        page.get_by_text("Only one model is in service.").wait_for()
        toy.make_bundle(root, "zebra", seed=3)
        patience.wait_until(
            lambda: (
                page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
                or page.wait_for_timeout(200)
                or page.locator("main .sides.three .wall canvas").count() == 12
            )
        )


def test_what_was_said_of_another_image_goes(visit, black, white):
    """Where the server fails at an image, the figures of the one before do not stand beside it."""
    page = visit("view=encode&model=digits", is_clean=False).page
    uploads.choose(page, black)
    page.locator(".answers").get_by_text("nats").first.wait_for()
    page.route("**/Reconstruct", lambda route: route.fulfill(status=400, json={"code": "invalid_argument"}))
    uploads.choose(page, white)
    page.get_by_role("alert").filter(has_text="does not take this").wait_for()
    assert page.locator(".answers").inner_text() == ""
    assert not canvas_of(page.get_by_role("img", name="Its reconstruction")).any()


def test_large_images_have_latents_to_vary(visit, tmp_path):
    """What the view asks fits the server's messages; the pictures are the decoder's."""
    toy.make_bundle(tmp_path / "models", "large", image_shape=(3, 320, 320))
    with serving(tmp_path / "models") as large:
        page = visit("view=vary&model=large", address=large.http_address).page
        assert image_of(page.locator(".latent img[src]").first).shape[:2] == (320, 320)


def test_the_focus_stays_on_what_is_made_anew(visit, odd):
    """Another axis of a plane and leaving a neighbourhood keep the focus in the view."""
    page = visit("view=map&model=bare", address=odd.http_address).page
    page.get_by_label("Across").focus()
    page.get_by_label("Across").select_option("2")
    wait_for_fragment(page, "axes", "3-.")
    page.wait_for_function("() => document.activeElement.labels?.[0]?.textContent === 'Across'")
    page = visit("view=sample&model=digits&count=4").page
    wall_of(page, 4)
    page.locator(".wall button").first.click()
    page.get_by_role("button", name="Leave").press("Enter")
    page.wait_for_function("() => document.activeElement.labels?.[0]?.textContent === 'From'")
