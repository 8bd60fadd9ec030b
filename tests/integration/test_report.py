"""`vae-train report`: the page of a run, whatever its data are like."""

import html
import io
import re
import shutil
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file

from serving.bundle import PoolEntry, Pools
from tests.support.brief_fits import MLP
from training import charts
from training.__main__ import main
from training.evaluate import Metrics
from training.evaluate.latents.probes import cluster_agreement
from training.evaluate.run_evaluation import add_group
from training.evaluate.tables import Group
from training.report.pictures import latent_map
from training.report.pictures.canvas import strip, strip_png, tile
from training.report.pictures.latent_walks import line
from training.runs import Run, load_run

TINY = [*MLP, "--width", "16", "--threads", "1"]
PICTURES = {
    "interpolation.gif",
    "interpolations.png",
    "latent_map.png",
    "loss_curves.png",
    "pools.png",
    "rate_per_latent.png",
    "reconstructions.png",
    "samples.png",
    "small_steps.png",
    "traversals.png",
}
HOSTILE = '<img src=x onerror=alert(1)>"&$\\frac'


def fit(run: Path, *arguments: str) -> Path:
    assert main(["fit", "--run", str(run), *TINY, *arguments]) == 0
    return run


def reported(run: Path, *arguments: str) -> str:
    """The page."""
    assert main(["report", "--run", str(run), *arguments]) == 0
    return (run / "report/index.html").read_text(encoding="utf-8")


def words(page: str) -> str:
    """What a reader sees, without tags."""
    return html.unescape(re.sub(r"<[^>]*>", " ", re.sub(r"<style>.*?</style>", "", page, flags=re.S)))


def saved(folder: Path, images: np.ndarray) -> None:
    folder.mkdir(parents=True)
    for index, pixels in enumerate(images):
        Image.fromarray(pixels).save(folder / f"{index}.png")


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> Path:
    """A VAE of the digits, briefly trained."""
    return fit(tmp_path_factory.mktemp("runs") / "digits", "--steps", "200", "--latent", "4")


def test_pools_that_were_found_stand_beside_the_labels(digits, tmp_path):
    """After `vae-train pools` the page shows them, and how well they agree with labels they never saw."""
    run = tmp_path / "run"
    shutil.copytree(digits, run)
    assert "found without labels" not in words(reported(run))
    assert main(["pools", "--run", str(run), "--count", "10", "--threads", "1"]) == 0
    page = words(reported(run))
    assert "These 10 pools were found without a single label" in page
    labels = load_run(run).dataset().train.labels.numpy()
    agreement = cluster_agreement(labels, load_file(run / "pools.safetensors")["assignment"])["acc"]
    assert f"agree for {agreement:.1%} of the training images" in page
    assert {"found_pools.png", "found_labels.png"} <= {file.name for file in (run / "report").iterdir()}
    assert set(re.findall(r"pool-\d+", page)) == {f"pool-{i}" for i in range(1, 11)}


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory) -> Path:
    return fit(
        tmp_path_factory.mktemp("runs") / "ae",
        "--model",
        "ae",
        "--prior",
        "normal",
        "--steps",
        "60",
        "--latent",
        "4",
    )


@pytest.fixture(scope="module")
def page(digits) -> str:
    """Of ``digits``."""
    return reported(digits)


def test_page_needs_nothing_from_elsewhere(digits, page):
    """One file: every picture inside it, no script, no address; the pictures are files beside it as well."""
    assert not re.search(r"<script|<link|https?://|@import|url\(", page)
    sources = re.findall(r'src="([^"]*)"', page)
    assert len(sources) > 40
    assert all(re.fullmatch(r"data:image/(png|gif);base64,[A-Za-z0-9+/=]+", source) for source in sources)
    assert {path.name for path in (digits / "report").iterdir()} == PICTURES | {"index.html", "metrics.json"}
    for name in PICTURES:
        with Image.open(digits / "report" / name) as picture:
            assert min(picture.size) > 40, name
    with Image.open(digits / "report/interpolation.gif") as moving:
        assert moving.n_frames > 30
        assert moving.info["loop"] == 0


def test_page_states_the_figures_with_their_protocol(page):
    """Figures, standard errors and k, the words of the model, and a row for each pool."""
    text = " ".join(words(page).split())
    assert "NLL, k = 100" in text
    assert "180 test images (not binarised)" in text
    assert re.search(r"± [0-9.]+ nats", text)
    assert "of 4" in text
    assert "prior N(0, I)" in text
    assert all(re.search(rf"\b{digit}\b", text) for digit in range(10))


def test_autoencoder_beside(digits, page, autoencoder, tmp_path, capsys):
    """The four rows are there when asked for, and gone again from a report without them; its path is printed."""
    run = Path(shutil.copytree(digits, tmp_path / "run"))
    rows = ("AE, N(0, I)", "AE, pools", "VAE, N(0, I)", "VAE, pools")
    text = words(reported(run, "--beside", str(autoencoder)))
    assert all(row in text for row in rows)
    assert (run / "report/index.html").resolve().as_uri() in capsys.readouterr().out
    assert (run / "report/ae_beside_vae.png").is_file()
    assert reported(run) == page
    assert not any(row in words(page) for row in rows)
    assert not (run / "report/ae_beside_vae.png").exists()


def test_further_figures(digits, autoencoder, tmp_path):
    """Groups of an evaluation have their tables with their protocol; trash rate and FD stand beside the rows."""
    run = Path(shutil.copytree(digits, tmp_path / "run"))
    row = {"fd": 12345.6, "trash_rate": 0.25, "trash_rate_se": 0.013, "samples": 10_000.0}
    group = Group(protocol={"step": 200, "seed": 41}, tables={"samples": {"pools": row, HOSTILE: row}})
    add_group(Run(run), Metrics.read(run / "metrics.json"), "samples", group)
    page = reported(run, "--beside", str(autoencoder))
    assert "<img src=x" not in page
    text = " ".join(words(page).split())
    assert "trash 25.0%, FD 12,345.6" in text
    assert "0.250 ± 0.013" in text
    assert "10,000" in text
    assert "seed 41" in text


@pytest.mark.parametrize(
    ("run", "beside", "message"),
    [
        ("digits", "digits", "want a run of --model ae, came --model vae"),
        ("autoencoder", "autoencoder", "want a VAE in --run to stand beside it, came an autoencoder"),
        ("digits", "other", "want the data of --run, digits"),
        ("digits", "nowhere", "cannot read config.json"),
    ],
)
def test_what_cannot_stand_beside_is_refused(request, tmp_path, capsys, run, beside, message):
    """One line, exit code 2, and nothing written."""
    if beside == "other":
        np.save(tmp_path / "other.npy", np.random.default_rng(0).integers(0, 256, (40, 8, 8), np.uint8))
        fit(tmp_path / "other", "--data", str(tmp_path / "other.npy"), "--model", "ae", "--steps", "2")
    known = {name: request.getfixturevalue(name) for name in ("digits", "autoencoder")}
    target = Path(shutil.copytree(known[run], tmp_path / "run", ignore=shutil.ignore_patterns("report")))
    code = main(["report", "--run", str(target), "--beside", str(known.get(beside, tmp_path / beside))])
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert code == 2
    assert error.startswith("vae-train: error: --")
    assert message in error
    assert not (target / "report").exists()


def test_autoencoder_alone(autoencoder):
    """No prior, no bound: the page says so, and orders the latents by how far their means move."""
    text = words(reported(autoencoder))
    assert "An autoencoder has no prior" in text
    assert "NLL" not in text
    assert "variance" in text


def test_learned_prior(tmp_path, autoencoder):
    """The prior's samples go through the flow; beside an autoencoder it has a row of its own."""
    run = fit(tmp_path / "flow", "--prior", "flow", "--coupling-width", "8", "--steps", "30", "--latent", "4")
    text = words(reported(run, "--beside", str(autoencoder)))
    assert "VAE, learned prior" in text
    assert "a real NVP flow" in text


def test_names_of_folders_cannot_inject(tmp_path, capsys):
    """Labels and data sets are named by their folders: markup, quotes and formulas in them are only text."""
    rng = np.random.default_rng(0)
    data = tmp_path / "<script>alert(2)<&"
    for name in (HOSTILE, "_hidden", "日本語"):
        saved(data / name, rng.integers(0, 256, (14, 9, 14, 3), np.uint8))
    page = reported(fit(tmp_path / "run", "--data", str(data), "--steps", "5", "--latent", "1"))
    assert "<script" not in page
    assert "<img src=x" not in page
    assert html.escape(HOSTILE, quote=False)[:20] in page.replace("&#34;", '"')
    text = words(page)
    assert "<script>alert(2)<&" in text
    assert "_hidden" in text
    assert "日本語" in text
    assert "14×" not in text
    assert "9×14 pixels" in text


def test_data_without_labels_and_with_very_many(tmp_path):
    """Without labels the page still walks between unlike images; of 40 labels it shows 30 rows and says so."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (200, 6, 5), np.uint8)
    np.save(tmp_path / "plain.npy", images)
    text = words(reported(fit(tmp_path / "plain", "--data", str(tmp_path / "plain.npy"), "--steps", "5")))
    assert "no labels" in text
    assert "1 → 2" in text
    np.savez(tmp_path / "many.npz", images=images, labels=np.arange(200) % 40)
    text = words(reported(fit(tmp_path / "many", "--data", str(tmp_path / "many.npz"), "--steps", "5")))
    assert "10 more pools are not shown" in text


def test_strips_show_every_image_pixel_by_pixel():
    """A pixel becomes a square, gaps are transparent, a wider one where asked for; a huge image is made smaller."""
    images = torch.arange(2 * 20 * 26).reshape(2, 1, 20, 26) % 256 / 255
    pixels = strip(images, column_rules=(1,))
    assert pixels.shape == (40, 2 * 52 + 16, 4)
    restored = [pixels[::2, :52:2, 0], pixels[::2, 68::2, 0]]
    np.testing.assert_array_equal(restored, (images[:, 0] * 255).round().byte())
    assert (pixels[:, 52:68, 3] == 0).all()
    with Image.open(io.BytesIO(strip_png(pixels))) as picture:
        assert picture.mode == "LA"
        np.testing.assert_array_equal(np.asarray(picture.convert("RGBA")), pixels)
    assert tile(torch.rand(3, 300, 150)).shape == (112, 56, 3)
    assert tile(torch.rand(2, 8, 8)).shape == (48, 48, 3)


def test_lines_meet_both_ends():
    """The first and the last point are the given ones, the others evenly between, for latents of any shape."""
    start, end = torch.zeros(2, 3), torch.ones(2, 3)
    way = line(start, end, 5)
    torch.testing.assert_close(way[:, 1, 2], torch.tensor([0, 0.25, 0.5, 0.75, 1]))
    assert way.shape == (5, 2, 3)


def test_no_name_hides_another_in_the_map():
    """Where the centres of several pools coincide, their names stand beside one another."""
    names = ("3", "8", "5", "10", "far")
    entries = [PoolEntry(name=name, rows=10, aggregate=False) for name in names]
    means = np.array([[0, 0], [0, 0], [0.1, 0], [0, 0.02], [3, 3]], np.float32)
    pools = Pools(np.full(5, 0.2, np.float32), means, np.stack([np.eye(2, dtype=np.float32)] * 5))
    made = charts.figure(8.4, 6.6)
    ax = made.add_axes((0.08, 0.085, 0.9, 0.895))
    ax.set_aspect("equal", adjustable="datalim")
    ax.scatter([-4, 4], [-4, 4])
    latent_map._draw_pools(ax, entries, pools, (np.zeros(2), np.eye(2)), {})
    made.draw_without_rendering()
    assert [text.get_text() for text in ax.texts] == [*names]
    boxes = [text.get_window_extent() for text in ax.texts]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    assert ax.texts[-1].get_position() == (3, 3)
