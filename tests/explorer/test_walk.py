import base64
import io

import numpy as np
import pytest
from PIL import Image

from tests.explorer import odd_models
from tests.explorer.browser import image_of
from tests.explorer.looking import as_shown, fragment_of, wait_for_fragment
from tests.support.process import serving

STRIP = ".walk-frames .strip img"
LARGE = ".walk-frames img.big"


@pytest.fixture(scope="module")
def odd(browser, tmp_path_factory):
    with serving(odd_models.make(tmp_path_factory.mktemp("odd")), "--max-rows", "9") as started:
        yield started


def packed(*points):
    """Named latents as the address has them."""
    text = [
        base64.urlsafe_b64encode(latent.astype("<f4").tobytes()).decode().rstrip("=") for _, latent in points
    ]
    return ",".join(f"{name}~{values}" for (name, _), values in zip(points, text, strict=True))


def walked(page, count):
    """All images of the walk once there are so many, [N, H, W, 3], as the slider shows them."""
    slider = page.get_by_label("Way", exact=False).first
    page.locator(f"{LARGE}[src]").wait_for()
    page.wait_for_function(
        "last => document.querySelector('.walk-frames input').max === last", arg=str(count - 1)
    )
    slider.press("Home")
    found = []
    for _ in range(count):
        found.append(image_of(page.locator(LARGE))[..., :3])
        slider.press("ArrowRight")
    return np.stack(found)


@pytest.fixture
def ends(client):
    """Two latents, one of each pool."""
    return [client.sample("digits", 1, seed=4, pool=pool, latents=True).latents[0] for pool in ("3", "8")]


@pytest.mark.parametrize("path", ["linear", "spherical"])
def test_the_walk_is_the_service_s(visit, client, ends, path):
    """Image by image along the slider, for both paths, with the points and steps of the address."""
    points = packed(("three", ends[0]), ("eight", ends[1]))
    page = visit(f"view=walk&model=digits&points={points}&path={path}&steps=5").page
    wanted = client.interpolate(
        "digits", 5, latents=np.stack(ends), spherical=path == "spherical", format="uint8"
    )
    np.testing.assert_array_equal(walked(page, 6), as_shown(wanted.images))
    assert page.locator(LARGE).get_attribute("alt") == "100 % from three to eight"


def test_without_points_there_is_a_walk_all_the_same(visit):
    """Between two pools, always the same one; another visit to the address that it then has shows it again."""
    page = visit("view=walk&model=digits").page
    images = walked(page, 17)
    assert np.abs(images[0].astype(int) - images[-1]).max() > 100
    wait_for_fragment(page, "points", ".+~.+,.+~.+")
    again = visit(page.url.partition("#")[2]).page
    np.testing.assert_array_equal(walked(again, 17), images)


def test_points_are_added_moved_and_removed(visit):
    """A sample of a pool makes the walk longer; a point that is moved earlier comes earlier; two remain."""
    page = visit("view=walk&model=digits&steps=4").page
    images = walked(page, 5)
    page.get_by_label("From", exact=True).select_option("pool 7")
    page.get_by_role("button", name="Add a sample").click()
    longer = walked(page, 9)
    np.testing.assert_array_equal(longer[:5], images)
    page.get_by_role("button", name="Earlier: point 2").press("Enter")
    assert page.evaluate("document.activeElement.closest('ol') !== null")
    wait_for_fragment(page, "points", "1~.+,0~.+,7~.+|0~.+")
    moved = walked(page, 9)
    np.testing.assert_array_equal(moved[0], longer[4])
    page.get_by_role("button", name="Remove point 3").click()
    assert len(walked(page, 5)) == 5
    assert page.get_by_role("button", name="Remove point 1").is_disabled()


def test_an_image_is_a_point(visit, client, tmp_path):
    """A picture of the user goes where the encoder puts it; what is no picture is told of in words."""
    page = visit("view=walk&model=digits&steps=1").page
    walked(page, 2)
    pixels = client.sample("digits", 1, seed=9, pool="5", format="uint8").images
    Image.fromarray(pixels[0, 0]).save(tmp_path / "mine.png")
    picker = page.locator("input[type=file]")
    picker.set_input_files(tmp_path / "mine.png")
    images = walked(page, 3)
    mean = client.encode("digits", pixels).mean
    np.testing.assert_array_equal(
        images[2], as_shown(client.decode("digits", mean, format="uint8").images)[0]
    )
    (tmp_path / "odd.png").write_bytes(b"not a picture")
    picker.set_input_files(tmp_path / "odd.png")
    page.get_by_role("alert").filter(has_text="odd.png is no picture that this browser can read").wait_for()
    assert len(walked(page, 3)) == 3


def test_play_goes_to_and_fro(visit):
    """Until it is paused; a move of the slider stops it."""
    page = visit("view=walk&model=digits&steps=3").page
    walked(page, 4)
    page.get_by_role("button", name="Play").click()
    seen = "document.querySelector('.walk-frames input').value"
    for value in ("3", "0", "1"):
        page.wait_for_function(f"value => {seen} === value", arg=value)
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Play").wait_for()


def test_the_gif_is_the_walk(visit, client, ends):
    """To and fro, so that it repeats without a jump; its first and middle frames are the two ends."""
    points = packed(("three", ends[0]), ("eight", ends[1]))
    page = visit(f"view=walk&model=digits&points={points}&steps=4").page
    images = walked(page, 5)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download GIF").click()
    assert download.value.suggested_filename == "digits-walk.gif"
    with Image.open(io.BytesIO(download.value.path().read_bytes())) as gif:
        assert gif.n_frames == 8
        for frame in (0, 4):
            gif.seek(frame)
            seen = np.asarray(gif.convert("RGB").resize(images[frame].shape[1::-1], Image.Resampling.BOX))
            np.testing.assert_allclose(seen.astype(int), images[frame], atol=8)


@pytest.mark.parametrize("model", ["colour", "two", "bare", "field"])
def test_odd_models_are_walked(visit, odd, model):
    """With no more rows than the server gives in one answer."""
    page = visit(f"view=walk&model={model}&steps=60", address=odd.http_address).page
    assert len(walked(page, 9)) == 9


@pytest.mark.parametrize(
    "nonsense",
    ["points=~~~,x~AAAA,%25~", "points=" + "x~AAAA," * 500, "steps=-4&path=<b>&at=1e99", "steps=1e9&at=NaN"],
)
def test_an_address_of_nonsense(visit, nonsense):
    """Gives a walk between points that are right."""
    page = visit(f"view=walk&model=digits&{nonsense}").page
    page.locator(f"{LARGE}[src]").wait_for()
    assert image_of(page.locator(LARGE)).size
    assert "points" in fragment_of(page) or wait_for_fragment(page, "points", ".+")
