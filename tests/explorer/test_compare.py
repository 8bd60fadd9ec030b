import shutil

import numpy as np

from serving.client import Client
from tests.explorer import uploads
from tests.explorer.looking import as_shown, fragment_of, wait_for_fragment, wall_of
from tests.support import toy
from tests.support.process import serving

LATENTS, IMAGES = "main .sides:not(.three)", "main .sides.three"


def test_both_decode_the_same_noise(visit, client):
    """Drawn with the seed of the address, by each through its own prior; the page says whose is a learned one."""
    page = visit("view=compare&model=digits&with=digits-ae~1&seed=11&count=6").page
    walls = wall_of(page, 12, LATENTS)
    for model, images in (("digits", walls[:6]), ("digits-ae", walls[6:])):
        wanted = client.sample(model, 6, seed=11, format="uint8").images
        np.testing.assert_array_equal(images, as_shown(wanted))
    assert client.model("digits").prior == "flow"
    page.get_by_text("digits · version 1: through the prior that it has learned.").wait_for()


def test_the_autoencoder_is_worse_at_random_latents(visit):
    """That is what the page is there to show, and the VAE's score says so in numbers."""
    page = visit("view=compare&model=digits&with=digits-ae~1&seed=1&count=36").page
    wall_of(page, 72, LATENTS)
    said = [page.locator(f"{LATENTS} .side").nth(side).locator("p").inner_text() for side in (0, 1)]
    of_vae, of_ae = (int(words.split(" of 36 score as the data do")[0]) for words in said)
    assert of_vae > of_ae


def test_both_reconstruct_the_same_images(visit, client):
    """Until there are others they are drawn by the VAE, whichever of the two was chosen first."""
    page = visit("view=compare&model=digits-ae&seed=4&count=5").page
    assert page.get_by_label("Beside it").input_value() == "digits~1"
    walls = wall_of(page, 15, IMAGES)
    given = client.sample("digits", 5, seed=4, format="uint8").images
    np.testing.assert_array_equal(walls[:5], as_shown(given))
    for model, images in (("digits-ae", walls[5:10]), ("digits", walls[10:])):
        again = client.reconstruct(model, given, format="uint8").images
        np.testing.assert_array_equal(images, as_shown(again))
        wrong = np.abs(again.astype(int) - given).mean() / 255 * 100
        words = page.locator(
            f"{IMAGES} .side", has=page.get_by_role("heading", name=f"{model} ·")
        ).inner_text()
        assert f"{wrong:.1f} %" in words


def test_pictures_of_ones_own(visit, client):
    """Several at once, as both models take them; and back to drawn ones."""
    page = visit("view=compare&model=digits&with=digits-ae~1&seed=4&count=2").page
    drawn = wall_of(page, 6, IMAGES)
    mine = np.random.default_rng(1).integers(0, 256, (3, 8, 8), np.uint8)
    files = [
        {"name": f"{row}.png", "mimeType": "image/png", "buffer": uploads.png(pixels)}
        for row, pixels in enumerate(mine)
    ]
    page.locator("input[type=file]").set_input_files(files)
    walls = wall_of(page, 9, IMAGES)
    np.testing.assert_array_equal(walls[:3], as_shown(mine[:, None]))
    again = client.reconstruct("digits-ae", mine[:, None], format="uint8").images
    np.testing.assert_array_equal(walls[6:], as_shown(again))
    page.get_by_role("button", name="Back to drawn images").click()
    np.testing.assert_array_equal(wall_of(page, 6, IMAGES), drawn)


def test_a_bad_file_among_good_ones(visit):
    """Is told of by its name; the images that were there stay."""
    page = visit("view=compare&model=digits&with=digits-ae~1&seed=4&count=2").page
    drawn = wall_of(page, 6, IMAGES)
    good = {"name": "good.png", "mimeType": "image/png", "buffer": uploads.png(np.zeros((8, 8), np.uint8))}
    bad = {"name": "bad.png", "mimeType": "image/png", "buffer": uploads.PDF}
    page.locator("input[type=file]").set_input_files([good, bad])
    page.get_by_role("alert").filter(has_text="bad.png is no picture").wait_for()
    np.testing.assert_array_equal(wall_of(page, 6, IMAGES), drawn)
    page.get_by_role("button", name="New seed").click()
    wait_for_fragment(page, "seed", "(?!4$)[0-9]+")
    assert not np.array_equal(wall_of(page, 6, IMAGES), drawn)
    assert page.get_by_role("alert").filter(has_text="bad.png is no picture").count() == 0


def test_the_comparison_is_shared_by_its_address(visit):
    """The other model, the seed and the count are in it; one that is not in service is said."""
    page = visit("view=compare&model=digits&count=4").page
    wait_for_fragment(page, "seed", "[0-9]+")  # or the first answer's seed could come amid what follows
    page.get_by_label("Beside it").select_option("digits-ae~1")
    wait_for_fragment(page, "with", "digits-ae~1")
    seed = wait_for_fragment(page, "seed", "[0-9]+")
    walls = wall_of(page, 8, LATENTS)
    other = visit(page.url.partition("#")[2]).page
    np.testing.assert_array_equal(wall_of(other, 8, LATENTS), walls)
    assert fragment_of(other)["seed"] == seed
    gone = visit("view=compare&model=digits&with=nobody~3&count=4").page
    gone.locator("#status").filter(has_text="is not in service").wait_for()
    wall_of(gone, 8, LATENTS)


def test_models_that_have_little_in_common(visit, odd):
    """Images of other sizes and colours are converted, and the page says so."""
    page = visit("view=compare&model=colour&with=two~1&seed=3&count=4", address=odd.http_address).page
    walls = page.locator(f"{IMAGES} .wall canvas")
    page.wait_for_function("() => document.querySelectorAll('.sides.three .wall canvas').length === 12")
    sizes = [walls.nth(at).evaluate("canvas => [canvas.width, canvas.height]") for at in (0, 4, 8)]
    assert sizes == [[9, 6], [9, 6], [5, 5]]
    page.get_by_text("images of different size or colour").wait_for()


def test_latents_of_other_sizes(visit, repository, tmp_path):
    """Each draws its own with the same seed, and the page says so."""
    root = tmp_path / "models"
    toy.make_bundle(root, "small", image_shape=(1, 8, 8))
    shutil.copytree(repository / "digits", root / "digits")
    with serving(root) as both, Client(both.grpc_address) as client:
        page = visit("view=compare&model=small&with=digits~1&seed=3&count=4", address=both.http_address).page
        walls = wall_of(page, 8, LATENTS)
        page.get_by_text("Their latents are of different size").wait_for()
        for model, images in (("small", walls[:4]), ("digits", walls[4:])):
            wanted = client.sample(model, 4, seed=3, format="uint8").images
            np.testing.assert_array_equal(images, as_shown(wanted))


def test_a_model_by_itself(visit, tmp_path):
    """Has nothing to be compared with; the page says what to do."""
    toy.make_bundle(tmp_path / "models")
    with serving(tmp_path / "models") as alone:
        page = visit("view=compare", address=alone.http_address).page
        page.get_by_text("Only one model is in service.").wait_for()
