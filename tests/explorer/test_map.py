import numpy as np
import pytest

from tests.explorer import moving, odd_models
from tests.explorer.browser import canvas_of, image_of, pixels_of
from tests.explorer.looking import as_shown, fragment_of, wait_for_fragment
from tests.explorer.test_walk import packed
from tests.support import patience, toy
from tests.support.process import serving


@pytest.fixture(scope="module")
def odd(browser, tmp_path_factory):
    """A server of models without a map, and of one whose map has three points, all at one place."""
    root = odd_models.make(tmp_path_factory.mktemp("odd"))
    few = toy.projection(3)
    toy.make_bundle(root, "heap", projection=type(few)(few.points * 0 + 1e17, few.latents))
    with serving(root, "--max-rows", "50") as started:
        yield started


def decoded_at(client, model, place):
    """What the service makes of a place of the map, as its client works it out."""
    latents = client.latent_map(model).latents_at(np.array([place]))
    return as_shown(client.decode(model, latents, format="uint8").images)[0]


def assert_alike(seen, wanted):
    """The address has six digits of a coordinate, and the page reckons in another order than the client."""
    np.testing.assert_allclose(seen.astype(int), wanted, atol=2)


def test_the_pointer_decodes_the_place_under_it(visit, client):
    """The large image is what the service decodes there, and another one elsewhere; the place is in the address."""
    page = visit("view=map&model=digits").page
    found = []
    for across, down in ((0.3, 0.4), (0.6, 0.7)):
        moving.point(page, across, down)
        found.append(moving.decoded(page))
        assert_alike(found[-1], decoded_at(client, "digits", moving.cross(page)))
    assert np.abs(found[0].astype(int) - found[1]).max() > 100


def test_a_drag_walks(visit):
    """Pictures follow the hand, in order and none twice; the way is drawn, and the map stays where it was."""
    page = visit("view=map&model=digits").page
    before = canvas_of(moving.map_of(page))
    seen = moving.drag(page, 1.5)
    assert len(seen.pictures) > 5
    assert (np.diff(seen.pictures[:, 0]) > 0).all()
    assert set(seen.pictures[:, 0]) <= set(seen.moves) | {seen.pictures[0, 0]}
    assert (seen.waits_ms() > 0).all()
    assert "anchors" not in fragment_of(page)
    assert "look" not in fragment_of(page)
    assert (canvas_of(moving.map_of(page)) != before).any(axis=2).mean() > 0.002


def test_a_shared_address_shows_the_same(visit):
    """Place, part that is seen, colours and anchors: the map of another visit has the same pixels."""
    page = visit("view=map&model=digits").page
    page.mouse.click(*moving.place(page, 0.4, 0.4))
    page.keyboard.press("+")
    page.get_by_label("Colour by").select_option("Pool")
    moving.point(page, 0.5, 0.3)
    wait_for_fragment(page, "look", ".+")
    wait_for_fragment(page, "colour", "pool")
    image = moving.decoded(page)
    page.mouse.move(0, 0)
    other = visit(page.url.partition("#")[2]).page
    np.testing.assert_array_equal(moving.decoded(other), image)
    difference = canvas_of(moving.map_of(other)).astype(int) - canvas_of(moving.map_of(page))
    assert (np.abs(difference) > 8).mean() < 1e-3  # six digits of a coordinate move an edge


def test_anchors_are_named_and_walked(visit, client):
    """A click sets one with the name of what is near; Walk begins and ends at their images."""
    page = visit("view=map&model=digits").page
    ends = []
    for across, down in ((0.35, 0.4), (0.65, 0.6)):
        page.mouse.click(*moving.place(page, across, down))
        anchors = wait_for_fragment(page, "anchors", ",".join(["[^,]+"] * (len(ends) + 1))).split(",")
        _, x, y = anchors[-1].split("~")
        ends.append(decoded_at(client, "digits", (float(x), float(y))))
    names = page.locator(".anchors input")
    assert names.nth(0).input_value() in client.latent_map("digits").labels
    names.nth(1).fill("a, ~ #& <b>")
    wait_for_fragment(page, "anchors", ".+%3Cb%3E.+")
    page.get_by_role("button", name="Walk between them").click()
    page.locator(".walk-frames .strip img").nth(3).wait_for()
    assert page.get_by_text("a, ~ #& <b>", exact=True).is_visible()
    pixels = [image_of(page.locator(".walk-frames .strip img").nth(at))[..., :3] for at in (0, -1)]
    for seen, wanted in zip(pixels, ends, strict=True):
        assert_alike(seen, wanted)


def test_the_keyboard_is_enough(visit, client):
    """Arrows move the cross and decode, Enter sets an anchor, plus zooms, 0 shows all; a screen reader is told."""
    page = visit("view=map&model=digits").page
    moving.map_of(page).focus()
    first, here = moving.decoded(page), moving.cross(page)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowUp")
    page.locator("#status").filter(has_text="Among the data").or_(
        page.locator("#status").filter(has_text="Far from the data")
    ).wait_for()
    page.wait_for_function("x => !location.hash.includes(x)", arg=f"{here[0]:g}")
    last, there = moving.decoded(page), moving.cross(page)
    assert_alike(last, decoded_at(client, "digits", there))
    assert (last != first).any()
    assert there[0] > here[0]
    assert there[1] > here[1]
    page.keyboard.press("Enter")
    wait_for_fragment(page, "anchors", ".+")
    page.keyboard.press("+")
    wait_for_fragment(page, "look", ".+,1.4")
    page.keyboard.press("0")
    page.wait_for_function("() => !location.hash.includes('look')")


def test_zoom_keeps_what_is_under_the_pointer(visit):
    """The wheel zooms in around the pointer; the cross stays at the same place of the map."""
    page = visit("view=map&model=digits").page
    moving.point(page, 0.3, 0.3)
    before = moving.cross(page)
    page.mouse.wheel(0, -400)
    wait_for_fragment(page, "look", ".+")
    moving.point(page, 0.4, 0.3)
    moving.point(page, 0.3, 0.3)
    np.testing.assert_allclose(moving.cross(page), before, rtol=1e-3, atol=1e-3)


def test_the_hand_moves_the_map(visit):
    """With Move pressed, or with Shift, a drag takes the map along and sets no anchor."""
    page = visit("view=map&model=digits").page
    page.get_by_role("button", name="Move").click()
    page.mouse.move(*moving.place(page, 0.5, 0.5))
    page.mouse.down()
    page.mouse.move(*moving.place(page, 0.7, 0.5), steps=4)
    page.mouse.up()
    *_, zoom = wait_for_fragment(page, "look", ".+").split(",")
    assert zoom == "1"
    assert "anchors" not in fragment_of(page)


def test_a_kind_that_is_pressed_stands_out(visit):
    """The other points grow pale, so that the map has less colour; pressed again all are as before."""
    page = visit("view=map&model=digits&colour=label").page
    canvas = moving.map_of(page)
    colour = _colour(canvas)
    kind = page.get_by_role("group", name="Colours").get_by_role("button").first
    kind.click()
    assert kind.get_attribute("aria-pressed") == "true"
    page.wait_for_function("() => new Promise((done) => requestAnimationFrame(() => done(true)))")
    assert _colour(canvas) < 0.5 * colour
    kind.click()
    page.wait_for_function("() => new Promise((done) => requestAnimationFrame(() => done(true)))")
    assert _colour(canvas) == pytest.approx(colour, rel=0.05)


def _colour(canvas):
    """How much of it there is: the mean difference of a pixel's largest and smallest channel."""
    pixels = canvas_of(canvas)[..., :3].astype(int)
    return (pixels.max(axis=2) - pixels.min(axis=2)).mean()


@pytest.mark.parametrize("model", ["colour", "two", "bare", "field", "heap"])
def test_odd_models_have_a_map(visit, odd, model):
    """Without a map in the bundle, samples along two latents, and it is said so; a map of one place works too."""
    page = visit(f"view=map&model={model}", address=odd.http_address).page
    page.mouse.click(*moving.place(page, 0.3, 0.3))
    wait_for_fragment(page, "anchors", ".+")
    assert moving.decoded(page).size
    assert (page.get_by_text("holds no map").count() == 1) == (model != "heap")


def test_other_latents_of_a_plane(visit, odd):
    """Are chosen by their lists, and are in the address; the image is of a latent with these two changed."""
    page = visit("view=map&model=bare&axes=1-2", address=odd.http_address).page
    moving.map_of(page)
    page.get_by_label("Up", exact=True).select_option("latent 3")
    wait_for_fragment(page, "axes", "1-3")
    moving.point(page, 0.7, 0.7)
    assert moving.decoded(page).size


@pytest.mark.parametrize(
    "nonsense",
    [
        "probe=NaN,1e999&look=0,0,-5&colour=<b>&anchors=%25E0~1~2,x~y~z,~~,a~1e9&axes=0-0&point=zzz~%25",
        "probe=1e30,-1e30&look=1e30,0,1e9&anchors=far~1e300~1e300",
        "probe=,&look=,,&anchors=,,,&point=~&version=banana",
        "model=nobody&probe=1",
    ],
)
def test_an_address_of_nonsense(visit, nonsense):
    """Shows the map all the same, and its pictures follow the pointer."""
    page = visit(f"view=map&{'model=digits&' if 'model=' not in nonsense else ''}{nonsense}").page
    page.get_by_role("button", name="All").click()
    moving.point(page, 0.4, 0.6)
    assert moving.decoded(page).max() > 0
    assert pixels_of(page.locator("canvas.map")).std() > 0


def test_a_point_of_another_view_is_shown(visit, client):
    """Its own image, with the cross at the place of the map whose latent is the nearest to it."""
    latent = client.sample("digits", 1, seed=3, pool="6", latents=True).latents
    found = client.latent_map("digits")
    nearest = np.square(found.latents - latent).sum(axis=1).argmin()
    page = visit(f"view=map&model=digits&point={packed(('mine', latent[0]))}").page
    page.locator("#status").filter(has_text="nearest to mine, and the picture is its own").wait_for()
    wanted = as_shown(client.decode("digits", latent, format="uint8").images)[0]
    patience.wait_until(
        lambda: (
            page.wait_for_timeout(20)
            or np.array_equal(canvas_of(page.locator(moving.PICTURE))[..., :3], wanted)
        )
    )
    page.locator("canvas.map").press("Enter")
    _, x, y = wait_for_fragment(page, "anchors", ".+").split("~")
    np.testing.assert_allclose([float(x), float(y)], found.points[nearest], rtol=1e-4)


def test_fingers(visit):
    """On a phone a finger walks, two move and zoom, and the page is no wider than the screen."""
    page = visit("view=map&model=digits", phone=True).page
    page.touchscreen.tap(*moving.place(page, 0.4, 0.2))
    wait_for_fragment(page, "anchors", ".+")
    assert moving.decoded(page).max() > 0
    x, y = moving.place(page, 0.5, 0.2)
    hand = page.context.new_cdp_session(page)
    for kind, apart in (("touchStart", 20), ("touchMove", 40), ("touchMove", 60), ("touchEnd", None)):
        fingers = (
            [] if apart is None else [{"x": x - apart, "y": y, "id": 1}, {"x": x + apart, "y": y, "id": 2}]
        )
        hand.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})
    zoom = float(wait_for_fragment(page, "look", ".+").split(",")[-1])
    assert 2 < zoom < 4
    assert fragment_of(page)["anchors"].count("~") == 2
    assert page.evaluate("document.documentElement.scrollWidth") <= page.evaluate("innerWidth")
