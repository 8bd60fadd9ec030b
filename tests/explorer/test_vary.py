import numpy as np
import pytest
from PIL import Image

from tests.explorer import odd_models
from tests.explorer.browser import canvas_of, image_of
from tests.explorer.looking import as_shown, fragment_of, wait_for_fragment
from tests.explorer.test_walk import packed
from tests.support import patience
from tests.support.process import serving

PICTURE = ".probe canvas.big"


@pytest.fixture(scope="module")
def odd(browser, tmp_path_factory):
    with serving(odd_models.make(tmp_path_factory.mktemp("odd")), "--max-rows", "9") as started:
        yield started


def shows(page, wanted):
    """Waits until the image is this one."""
    page.locator(".latent img[src]").first.wait_for()
    patience.wait_until(
        lambda: (
            page.wait_for_timeout(20) or np.array_equal(canvas_of(page.locator(PICTURE))[..., :3], wanted)
        ),
        lambda: "the image is another one",
    )


def decoded(client, latent):
    return as_shown(client.decode("digits", latent[None].astype(np.float32), format="uint8").images)[0]


def middle(client, **source):
    return client.sample("digits", 1, temperature=0.0, latents=True, **source).latents[0]


def latents_told(page):
    """The number of each slider's latent and the nats beside it, from the top."""
    rows = page.locator(".latent")
    words = [rows.nth(row).inner_text() for row in range(rows.count())]
    return [(int(text.split()[1]) - 1, text.splitlines()[-1]) for text in words]


def test_it_begins_at_the_middle_of_the_prior(visit, client):
    """And each slider is where the latent is; the model's latents are all there, the most telling first."""
    page = visit("view=vary&model=digits").page
    latent = middle(client)
    shows(page, decoded(client, latent))
    told = latents_told(page)
    nats = [float(words.split()[0]) for _, words in told if words.endswith("nats")]
    assert nats == sorted(nats, reverse=True)
    assert nats[0] > 0.1
    assert len({index for index, _ in told}) == len(told) == min(16, latent.size)


def test_a_slider_changes_its_latent_alone(visit, client):
    """The image is that of the latent with the one value moved; Reset goes back."""
    page = visit("view=vary&model=digits").page
    latent = middle(client)
    shows(page, decoded(client, latent))
    index, _ = latents_told(page)[0]
    bar = page.locator(".latent input[type=range]").first
    bar.press("End")
    moved = latent.copy()
    moved[index] = float(bar.input_value())
    shows(page, decoded(client, moved))
    assert np.abs(decoded(client, moved).astype(int) - decoded(client, latent)).max() > 50
    high = page.locator(".latent img").nth(1)
    patience.wait_until(
        lambda: (
            page.wait_for_timeout(20)
            or np.array_equal(image_of(high)[..., :3], canvas_of(page.locator(PICTURE))[..., :3])
        )
    )
    wait_for_fragment(page, "at", "varied~.+")
    again = visit(page.url.partition("#")[2]).page
    shows(again, decoded(client, moved))
    page.get_by_role("button", name="Reset").click()
    shows(page, decoded(client, latent))
    page.wait_for_function("() => !location.hash.includes('at=')")


def test_a_pool_is_a_start(visit, client):
    """Its middle; and the address keeps which."""
    page = visit("view=vary&model=digits").page
    page.get_by_label("Start from", exact=True).select_option("the middle of pool 6")
    shows(page, decoded(client, middle(client, pool="6")))
    assert wait_for_fragment(page, "from", "6")
    shows(visit("view=vary&model=digits&from=6").page, decoded(client, middle(client, pool="6")))


def test_a_point_of_another_view_is_a_start(visit, client):
    """As the address has it, and Reset returns to it."""
    latent = client.sample("digits", 1, seed=1, pool="2", latents=True).latents[0]
    page = visit(f"view=vary&model=digits&start={packed(('mine', latent))}").page
    shows(page, decoded(client, latent))
    page.locator(".latent input[type=range]").nth(1).press("Home")
    page.get_by_role("button", name="Reset").click()
    shows(page, decoded(client, latent))


def test_an_image_is_a_start(visit, client, tmp_path):
    """A picture of the user begins where the encoder puts it."""
    page = visit("view=vary&model=digits").page
    page.locator(".latent img[src]").first.wait_for()
    pixels = client.sample("digits", 1, seed=9, pool="5", format="uint8").images
    Image.fromarray(pixels[0, 0]).save(tmp_path / "mine.png")
    page.locator("input[type=file]").set_input_files(tmp_path / "mine.png")
    mean = client.encode("digits", pixels).mean[0]
    shows(page, decoded(client, mean))
    wait_for_fragment(page, "start", "mine.png~.+")


def test_it_leads_to_a_walk(visit, client):
    """From the start to where the sliders are."""
    page = visit("view=vary&model=digits").page
    shows(page, decoded(client, middle(client)))
    page.locator(".latent input[type=range]").first.press("Home")
    wait_for_fragment(page, "at", "varied~.+")
    page.get_by_role("button", name="Walk from the start to here").click()
    page.locator(".walk-frames .strip img").nth(5).wait_for()
    assert fragment_of(page)["view"] == "walk"
    assert fragment_of(page)["points"].count("~") == 2


@pytest.mark.parametrize("model", ["colour", "two", "bare", "field", "ae"])
def test_odd_models_are_varied(visit, odd, server, model):
    """Spatial latents are told of in words and named by their place; an AE's are ordered by how they vary."""
    name, address = (model, odd.http_address) if model != "ae" else ("digits-ae", server.http_address)
    page = visit(f"view=vary&model={name}", address=address).page
    page.locator(".latent img[src]").first.wait_for()
    assert canvas_of(page.locator(PICTURE)).size
    words = page.locator("#view").inner_text()
    assert ("are a grid" in words) == (model == "field")
    assert ("channel 1, row 1, column 1" in words) == (model == "field")
    assert ("no posterior" in words) == (model == "ae")


@pytest.mark.parametrize("nonsense", ["start=x~AAAA&at=~", "at=%25~%25", "from=<b>nobody"])
def test_an_address_of_nonsense(visit, nonsense):
    """Gives the middle of the prior; a pool that is not there is told of in words."""
    page = visit(f"view=vary&model=digits&{nonsense}").page
    page.locator(".latent img[src]").first.wait_for()
    assert canvas_of(page.locator(PICTURE))[..., :3].max() > 0
    told = page.locator("#status").filter(has_text="has no pool “<b>nobody”")
    assert (told.count() == 1) == nonsense.startswith("from")
