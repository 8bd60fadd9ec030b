import base64

import numpy as np
import pytest

from serving.client import Client
from tests.explorer import uploads
from tests.explorer.browser import canvas_of
from tests.explorer.looking import answered, as_shown, fragment_of, wait_for_fragment
from tests.support import patience

DIGITS = (1, 8, 8)


@pytest.fixture
def seven(client):
    """A digit as the model of digits makes it: uint8 [1, 1, 8, 8]."""
    return client.sample("digits", 1, pool="7", temperature=0.5, seed=1, format="uint8").images


def shown(page, title):
    """What one of the three pictures holds: [H, W, 3]."""
    return canvas_of(
        page.locator("figure", has=page.get_by_role("heading", name=title)).locator("canvas").first
    )[..., :3]


def original(page):
    """What the model gets, once its answer is there."""
    page.get_by_role("heading", name="Pools").wait_for()
    answered(page)
    return shown(page, "What the model gets")


def place_in_words(quantile):
    """Of a score among those of images kept back from training."""
    if quantile < 0.005:
        return "An ordinary image: hardly any image"
    if quantile >= 0.995:
        return "A very unusual image: more surprising than practically every image"
    return f"more surprising than {min(round(float(quantile) * 100), 99)} of 100"


def shared(images, model="digits"):
    """The fragment of an image."""
    text = base64.urlsafe_b64encode(images.tobytes()).decode().rstrip("=")
    return f"view=encode&model={model}&image={text}"


def test_an_upload_is_what_the_service_makes_of_it(visit, client, seven):
    """The picture as it is; its reconstruction, the difference, the pools and the score are the service's."""
    page = visit("view=encode&model=digits").page
    uploads.choose(page, uploads.png(seven[0, 0]), "seven.png")
    np.testing.assert_array_equal(original(page), as_shown(seven)[0])
    again = client.reconstruct("digits", seven, format="uint8").images
    np.testing.assert_array_equal(shown(page, "Its reconstruction"), as_shown(again)[0])
    assert "seven.png: 8 × 8 pixels; its size kept, made grey." in page.locator("main").inner_text()
    posterior = client.encode("digits", seven, pool_probabilities=True)
    best = posterior.pool_probabilities[0].argmax()
    first = page.locator(".bars li").first
    assert first.locator(".bar-name").inner_text() == posterior.pools[best]
    score = client.score("digits", seven, seed=0)
    words = page.locator(".score").inner_text()
    assert f"{score.nelbo[0]:.1f} nats" in words
    assert f"{score.distortion[0]:.1f} nats" in words
    assert f"{score.rate[0]:.1f} nats" in words
    assert place_in_words(score.quantile[0]) in words


def test_the_heat_map_shows_where_they_differ(visit, client, seven):
    """A pixel that the model cannot have expected is the lightest of all, and is named."""
    spoiled = seven.copy()
    spoiled[0, 0, 0, 7] = 255
    page = visit(shared(spoiled)).page
    original(page)
    heat = shown(page, "Where they differ").astype(int).sum(axis=2)
    again = client.reconstruct("digits", spoiled, format="uint8").images.astype(int)
    difference = np.abs(spoiled.astype(int) - again)[0, 0]
    assert (
        np.unravel_index(heat.argmax(), heat.shape) == np.unravel_index(difference.argmax(), (8, 8)) == (0, 7)
    )
    order = difference.ravel().argsort()
    assert (np.diff(heat.ravel()[order]) >= 0).all(), "the larger the difference, the lighter"
    score = client.score("digits", spoiled, seed=0)
    assert place_in_words(score.quantile[0]) in page.locator(".score").inner_text()
    words = page.locator("main").inner_text()
    assert f"most at row 1, column 8: {round(difference.max() / 255 * 100)} %" in words


def test_an_image_is_shared_by_its_address(visit, seven):
    """What was uploaded is in the address, and opens there again."""
    page = visit("view=encode&model=digits").page
    uploads.choose(page, uploads.png(seven[0, 0]))
    picture = original(page)
    wait_for_fragment(page, "image", ".{86}")
    other = visit(page.url.partition("#")[2]).page
    np.testing.assert_array_equal(original(other), picture)


@pytest.mark.parametrize("image", ["AAAA", "%25%25", "A" * 30000])
def test_an_address_with_another_image(visit, image):
    """Is no harm: words, and the view waits for a picture."""
    page = visit(f"view=encode&model=digits&image={image}").page
    page.get_by_text("Choose a picture, paste one, or draw").wait_for()
    page.locator("#status").filter(has_text="of another size").wait_for()


@pytest.mark.parametrize("way", ["paste", "drop"])
def test_a_picture_is_pasted_or_dropped(visit, seven, way):
    """From the clipboard wherever the focus is, or onto the view."""
    page = visit("view=encode&model=digits").page
    page.get_by_text("Choose a picture, paste one, or draw").wait_for()
    file = base64.b64encode(uploads.png(seven[0, 0])).decode()
    page.evaluate(
        """([text, way]) => {
          const bytes = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
          const data = new DataTransfer();
          data.items.add(new File([bytes], 'clip.png', {type: 'image/png'}));
          const about = {bubbles: true, cancelable: true};
          if (way === 'paste') document.body.dispatchEvent(new ClipboardEvent('paste', {...about, clipboardData: data}));
          else document.querySelector('.empty').dispatchEvent(new DragEvent('drop', {...about, dataTransfer: data}));
        }""",
        [file, way],
    )
    np.testing.assert_array_equal(original(page), as_shown(seven)[0])


def test_a_drawing_is_encoded_while_it_is_drawn(visit):
    """A stroke of the mouse down the middle is light there and dark elsewhere; undone, it is gone."""
    page = visit("view=encode&model=digits").page
    pad = page.get_by_role("application", name="Drawing pad")
    page.locator("select", has_text="light on dark").select_option("light")
    box = pad.bounding_box()
    middle = box["x"] + box["width"] / 2
    page.mouse.move(middle, box["y"] + box["height"] * 0.1)
    page.mouse.down()
    page.mouse.move(middle, box["y"] + box["height"] * 0.9, steps=8)
    page.mouse.up()
    wait_for_drawing(page, lambda seen: seen[2:6, 3:5].min() > 100)
    assert shown(page, "What the model gets")[:, [0, 1, 6, 7]].max() < 30
    page.get_by_role("button", name="Undo").click()
    wait_for_drawing(page, lambda seen: seen.max() == 0)


def wait_for_drawing(page, looks_right):
    original(page)
    patience.wait_until(lambda: page.wait_for_timeout(20) or looks_right(shown(page, "What the model gets")))


def test_a_drawing_by_keyboard(visit):
    """The space bar puts the pen down, arrows draw, the space bar lifts it: what follows leaves no trace."""
    page = visit("view=encode&model=digits").page
    pad = page.get_by_role("application", name="Drawing pad")
    page.locator("select", has_text="light on dark").select_option("light")
    pad.focus()
    for key in ("Space", *["Shift+ArrowDown"] * 3, "Space", *["Shift+ArrowRight"] * 3):
        page.keyboard.press(key)
    wait_for_drawing(page, lambda seen: seen[4:7, 3:5].max() > 100)
    assert shown(page, "What the model gets")[:, 6:].max() < 30
    assert fragment_of(page)["view"] == "encode"


def test_a_photo_of_forty_megapixels(visit):
    """Is cropped and scaled without a pixel lost: the average of what is there, from dark to light."""
    page = visit("view=encode&model=digits").page
    uploads.choose(page, uploads.photo(7728, 5368), "photo.jpg", "image/jpeg")
    seen = original(page)[..., 0].astype(int)
    crop = np.linspace(0, 255, 7728)[1180:-1180].reshape(8, -1).mean(axis=1)
    np.testing.assert_allclose(seen, np.broadcast_to(crop, (8, 8)), atol=4)
    text = page.locator("main").inner_text()
    assert "photo.jpg: 7728 × 5368 pixels; its middle cropped, scaled down to 8 × 8, made grey." in text


def test_fine_stripes_become_grey(visit):
    """No pixel is taken for its neighbours'."""
    page = visit("view=encode&model=digits").page
    stripes = np.zeros((600, 600), np.uint8)
    stripes[:, ::2] = 255
    uploads.choose(page, uploads.png(stripes))
    np.testing.assert_allclose(original(page).astype(int), 127, atol=3)


def test_what_is_transparent_is_white(visit):
    """As in training."""
    page = visit("view=encode&model=digits").page
    uploads.choose(page, uploads.half_transparent())
    seen = original(page)
    assert (seen[:4].max(), seen[4:].min()) == (0, 255)
    page.get_by_role("button", name="Swap light and dark").click()
    wait_for_drawing(page, lambda swapped: swapped[:4].min() == 255 and swapped[4:].max() == 0)


def test_the_first_frame_of_an_animation(visit):
    page = visit("view=encode&model=digits").page
    uploads.choose(page, uploads.animation(), "moving.gif", "image/gif")
    assert original(page).max() == 0
    assert "the first frame taken" in page.locator("main").inner_text()


def test_a_picture_of_one_pixel(visit):
    """Fills the image."""
    page = visit("view=encode&model=digits").page
    uploads.choose(page, uploads.png(np.full((1, 1, 3), (255, 0, 0), np.uint8)))
    np.testing.assert_array_equal(original(page), 76)
    assert "1 × 1 pixels; scaled up to 8 × 8" in page.locator("main").inner_text()


BAD = {
    "a PDF by another name": (
        uploads.PDF,
        "letter.png",
        "letter.png is no picture that this browser can read.",
    ),
    "an empty file": (b"", "nothing.png", "nothing.png is empty"),
    "half a file": (uploads.photo(64, 64)[:300], "half.jpg", "half.jpg is no picture"),
}


@pytest.mark.parametrize(("content", "name", "words"), BAD.values(), ids=BAD)
def test_a_file_that_is_no_picture(visit, seven, content, name, words):
    """Is told of in words; what was shown before stays, and the next picture is taken."""
    page = visit(shared(seven)).page
    before = original(page)
    uploads.choose(page, content, name)
    page.get_by_role("alert").filter(has_text=words).wait_for()
    np.testing.assert_array_equal(shown(page, "What the model gets"), before)
    uploads.choose(page, uploads.png(255 - seven[0, 0]))
    wait_for_drawing(page, lambda seen: np.array_equal(seen, 255 - before))
    assert page.get_by_role("alert").filter(has_text=words).count() == 0


def test_its_latent_goes_to_the_other_views(visit, client, seven):
    """The links hold the posterior's mean."""
    page = visit(shared(seven)).page
    original(page)
    mean = client.encode("digits", seven).mean.astype("<f4").tobytes()
    text = base64.urlsafe_b64encode(mean).decode().rstrip("=")
    for words in ("Vary it", "Walk from it", "Show on the map"):
        assert text in page.get_by_role("link", name=words).get_attribute("href")
    page.get_by_role("link", name="Vary it").click()
    page.get_by_role("heading", name="Vary", level=1).wait_for()


@pytest.mark.parametrize(
    ("model", "shape", "words"),
    [
        ("colour", (3, 6, 9), "This bundle does not say how images of the data set score."),
        ("two", (2, 5, 5), "This model offers no score"),
        ("bare", (1, 4, 6), "This model has no pools to tell apart."),
        ("field", (1, 8, 8), "This model offers no score"),
    ],
)
def test_odd_models(visit, odd, model, shape, words):
    """Colour, two channels, no pools, no score, spatial latents: what there is, is shown, the rest is said."""
    page = visit(f"view=encode&model={model}", address=odd.http_address).page
    _, height, width = shape
    colours = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    uploads.choose(page, uploads.png(colours))
    seen = original(page)
    if shape[0] == 3:  # RGB
        np.testing.assert_array_equal(seen, colours)
        given = colours.transpose(2, 0, 1)[None]
    else:
        grey = np.round(colours @ [0.299, 0.587, 0.114]).astype(np.uint8)
        np.testing.assert_array_equal(seen, np.repeat(grey[..., None], 3, axis=2))
        given = np.broadcast_to(grey, (1, *shape))
    with Client(odd.grpc_address) as client:
        again = client.reconstruct(model, given, format="uint8").images
    np.testing.assert_array_equal(shown(page, "Its reconstruction"), as_shown(again)[0])
    assert words in page.locator("main").inner_text()
