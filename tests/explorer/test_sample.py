import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from serving.client import Client
from tests.explorer.looking import as_shown, fragment_of, shown_by, wait_for_fragment, wall_of
from tests.support import toy
from tests.support.process import serving

MOST_SEED = 2**64 - 1


def fill(page, label, text):
    """Types into a field and leaves it."""
    page.get_by_label(label, exact=True).fill(text)
    page.keyboard.press("Tab")


def save(page, button):
    """The file that a button gives."""
    with page.expect_download() as download:
        page.get_by_role("button", name=button).click()
    found = download.value
    return found.suggested_filename, found.path().read_bytes()


def test_the_grid_is_what_the_service_samples(visit, client):
    """Pixel by pixel, of the seed and the count in the address."""
    page = visit("view=sample&model=digits&seed=7&count=9").page
    sampled = client.sample("digits", 9, seed=7, format="uint8")
    np.testing.assert_array_equal(wall_of(page, 9), as_shown(sampled.images))


def test_the_server_draws_a_seed_which_gives_the_grid_again(visit):
    """Shown in its field and kept in the address; another visit to that address shows the same, a new seed not."""
    page = visit("view=sample&model=digits&count=4").page
    grid = wall_of(page, 4)
    seed = wait_for_fragment(page, "seed", "[0-9]+")
    assert page.get_by_label("Seed", exact=True).input_value() == seed
    again = visit(page.url.partition("#")[2]).page
    np.testing.assert_array_equal(wall_of(again, 4), grid)
    page.get_by_role("button", name="New seed").click()
    wait_for_fragment(page, "seed", f"(?!{seed}$)[0-9]+")
    assert not np.array_equal(wall_of(page, 4), grid)


def test_more_of_a_seed_begin_with_the_same(visit, client):
    """A larger count adds rows; the largest seed there is works as well."""
    page = visit(f"view=sample&model=digits&seed={MOST_SEED}&count=4").page
    few = wall_of(page, 4)
    fill(page, "How many", "11")
    np.testing.assert_array_equal(wall_of(page, 11)[:4], few)
    assert fragment_of(page)["seed"] == str(MOST_SEED)


def test_a_pool_at_a_temperature(visit, client):
    """Chosen from the list, and by the slider's keys; the grid follows."""
    page = visit("view=sample&model=digits&seed=3&count=6").page
    wall_of(page, 6)
    page.get_by_label("From").select_option("pool 4")
    page.get_by_label("Temperature").press("Home")
    page.get_by_label("Temperature").press("ArrowRight")
    wait_for_fragment(page, "t", "0.05")
    wanted = client.sample("digits", 6, seed=3, pool="4", temperature=0.05, format="uint8")
    np.testing.assert_array_equal(wall_of(page, 6), as_shown(wanted.images))
    assert fragment_of(page)["pool"] == "4"


def test_one_click_makes_neighbours(visit, client):
    """Around the latent of the image that was clicked, as the service samples around it; back returns."""
    page = visit("view=sample&model=digits&seed=5&count=4").page
    grid = wall_of(page, 4)
    page.get_by_role("button", name="Image 3: show its neighbours").click()
    wait_for_fragment(page, "near", ".+")
    centre = client.sample("digits", 4, seed=5, latents=True).latents[2:3]
    wanted = client.sample("digits", 4, seed=5, near_latent=centre, spread=0.4, format="uint8")
    page.wait_for_function("() => document.querySelector('.about').textContent.includes('around image 3')")
    np.testing.assert_array_equal(wall_of(page, 4), as_shown(wanted.images))
    page.get_by_label("Spread").press("Home")
    wait_for_fragment(page, "spread", "0")
    neighbours = wall_of(page, 4)
    np.testing.assert_array_equal(neighbours, np.broadcast_to(neighbours[:1], neighbours.shape))
    np.testing.assert_allclose(neighbours[0].astype(int), grid[2], atol=1)
    page.go_back()
    page.wait_for_function("() => document.querySelector('.about').textContent.includes('from the prior')")
    np.testing.assert_array_equal(wall_of(page, 4), grid)


def test_the_files_hold_what_is_shown(visit, client):
    """numpy reads the images, latents and seed of the npz; the PNG is the grid, each pixel a square."""
    page = visit("view=sample&model=digits&seed=12&count=5").page
    grid = wall_of(page, 5)
    sampled = client.sample("digits", 5, seed=12, latents=True, format="uint8")
    name, content = save(page, "Download npz")
    assert name == "digits-1-seed-12.npz"
    assert zipfile.ZipFile(io.BytesIO(content)).testzip() is None
    with np.load(io.BytesIO(content)) as arrays:
        assert sorted(arrays) == ["images", "latents", "seed"]
        np.testing.assert_array_equal(arrays["images"], sampled.images)
        np.testing.assert_array_equal(arrays["latents"], sampled.latents)
        assert (arrays["images"].dtype, arrays["latents"].dtype, arrays["seed"].dtype) == (
            np.uint8, np.float32, np.uint64,
        )  # fmt: skip
        assert (arrays["seed"].shape, int(arrays["seed"])) == ((), 12)
    name, content = save(page, "Download PNG")
    assert name == "digits-1-seed-12.png"
    with Image.open(io.BytesIO(content)) as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    large = 96
    assert pixels.shape == (2 * (large + 2) + 2, 3 * (large + 2) + 2, 3)
    fifth = pixels[100 + 6 : 100 + large : 12, 100 + 6 : 100 + large : 12]
    np.testing.assert_array_equal(fifth, grid[4])


@pytest.mark.parametrize("text", ["0", "1000000000", "-3", "1.5", "many", "", "1e2", "９"])
def test_a_count_that_is_none(visit, text):
    """Is told of in words beneath the field; the grid stays, and the server is not asked."""
    opened = visit("view=sample&model=digits&seed=7&count=4")
    grid = wall_of(opened.page, 4)
    before = len(opened.requests)
    fill(opened.page, "How many", text)
    complaint = opened.page.get_by_role("alert").filter(has_text="Want a whole number from 1 to")
    complaint.wait_for()
    assert opened.page.get_by_label("How many", exact=True).get_attribute("aria-invalid") == "true"
    np.testing.assert_array_equal(wall_of(opened.page, 4), grid)
    assert not [address for address in opened.requests[before:] if address.endswith("/Sample")]


@pytest.mark.parametrize("seed", ["-1", "abc", str(2**64), "0x10"])
def test_a_seed_that_is_none(visit, seed):
    """As a count; and where the address says so, the server draws one."""
    page = visit("view=sample&model=digits&seed=7&count=4").page
    wall_of(page, 4)
    fill(page, "Seed", seed)
    page.get_by_role("alert").filter(has_text=f"Want a whole number from 0 to {MOST_SEED}").wait_for()
    other = visit(f"view=sample&model=digits&seed={seed}&count=4").page
    wall_of(other, 4)
    assert wait_for_fragment(other, "seed", "[0-9]{1,19}") != seed


def test_an_address_of_nonsense(visit):
    """A pool, a place and numbers that nobody knows give a grid of the prior, and words."""
    page = visit("view=sample&model=digits&pool=<b>x&near=%%%~&count=1e9&t=NaN&spread=-4&seed=1").page
    page.locator("#status").filter(has_text="This model has no pool “<b>x”").wait_for()
    page.wait_for_function("() => document.querySelectorAll('.wall canvas').length > 100")


@pytest.mark.parametrize("model", ["colour", "two", "bare", "field"])
def test_odd_models(visit, odd, model):
    """Images in colour, not square, of two channels, without pools, of spatial latents: all are drawn, with
    neighbours, and go into a file."""
    page = visit(f"view=sample&model={model}&seed=2&count=6", address=odd.http_address).page
    with Client(odd.grpc_address) as client:
        sampled = client.sample(model, 6, seed=2, latents=True, format="uint8")
        np.testing.assert_array_equal(wall_of(page, 6), as_shown(sampled.images))
        _, content = save(page, "Download npz")
        with np.load(io.BytesIO(content)) as arrays:
            np.testing.assert_array_equal(arrays["images"], sampled.images)
            np.testing.assert_array_equal(arrays["latents"], sampled.latents)
        page.get_by_role("button", name="Image 6: show its neighbours").click()
        page.wait_for_function(
            "() => document.querySelector('.about').textContent.includes('around image 6')"
        )
        wanted = client.sample(model, 6, seed=2, near_latent=sampled.latents[5:6], spread=0.4, format="uint8")
        np.testing.assert_array_equal(wall_of(page, 6), as_shown(wanted.images))


def test_no_more_than_the_server_gives(visit, odd):
    """The largest number of rows of a request is the largest count of the page."""
    page = visit("view=sample&model=bare&count=50", address=odd.http_address).page
    wall_of(page, 50)
    fill(page, "How many", "51")
    page.get_by_role("alert").filter(has_text="from 1 to 50, not “51”").wait_for()


def test_a_restart_of_the_server_during_a_call(visit, tmp_path):
    """The page says that nobody answers, and shows the images as soon as somebody does."""
    toy.make_bundle(tmp_path / "models")
    with serving(tmp_path / "models") as before:
        page = visit("view=sample&count=4&seed=1", address=before.http_address).page
        grid = wall_of(page, 4)
        before.terminate()
    fill(page, "Seed", "2")
    page.get_by_text("The server does not answer.").wait_for()
    np.testing.assert_array_equal(shown_by(page, 4), grid)
    with serving(tmp_path / "models", "--http-address", before.http_address) as after:
        page.locator(".about").filter(has_text="seed 2").wait_for()
        with Client(after.grpc_address) as client:
            wanted = client.sample("toy", 4, seed=2, format="uint8")
        np.testing.assert_array_equal(wall_of(page, 4), as_shown(wanted.images))
    assert not page.get_by_text("The server does not answer.").is_visible()
