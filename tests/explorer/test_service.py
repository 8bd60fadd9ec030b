import re
import shutil

import numpy as np
import pytest

from serving.client import Client, VaeError
from tests.explorer.looking import wait_for_fragment
from tests.support import patience, toy
from tests.support.bundles import reseal, rewrite_manifest
from tests.support.process import serving

GATES = [
    {"name": "parity", "wanted": "at most 1e-05", "came": "2.4e-07", "passed": True, "forced": False},
    {"name": "active_units", "wanted": "at least 1", "came": "<b>0</b>", "passed": False, "forced": True},
]


@pytest.fixture(scope="module")
def toys(browser, tmp_path_factory):
    """A server of two toys, and a version that is refused."""
    root = tmp_path_factory.mktemp("toys")
    toy.make_bundle(root, "first", with_score=True)
    rewrite_manifest(root / "first/1", lambda document: document["training"].update(gates=GATES))
    toy.make_bundle(root, "second", seed=2)
    toy.make_bundle(root, "second", version=2, seed=3)
    reseal(root / "second/2", "decoder.onnx", b"no graph")
    with serving(root) as started:
        yield started


@pytest.fixture
def client(toys):
    with Client(toys.grpc_address) as made:
        yield made


def chart(page, title):
    """What the figure says of itself to who cannot see it."""
    return page.get_by_role("img", name=re.compile(f"^{title}")).get_attribute("aria-label")


def wait_for_chart(page, title, pattern):
    patience.wait_until(lambda: page.wait_for_timeout(50) or re.search(pattern, chart(page, title)))


def calls_of(page):
    """The table of calls: its rows by method."""
    rows = page.get_by_role("region", name="Calls by method").locator("tbody tr")
    found = [row.locator("td").all_inner_texts() for row in rows.all()]
    return {method: figures for method, *figures in found}


def test_models_and_versions(visit, toys, client):
    """Each in service with digest and facts as the API gives them; one that is refused with its reason."""
    page = visit("view=service", address=toys.http_address).page
    table = page.get_by_role("region", name="Versions that the server knows of")
    table.wait_for()
    rows = [row.inner_text() for row in table.locator("tbody tr").all()]
    assert len(rows) == 3
    assert any("second" in row and "refused" in row and "decoder" in row for row in rows)
    for model in client.models():
        card = page.locator(".model-card", has=page.get_by_role("heading", name=model.name))
        words = card.inner_text()
        assert "6 × 4, grey, values 0 to 1" in words
        assert "bernoulli" in words
        assert "zero, one" in words
        assert re.search(r"nelbo\s+1\.5\s+± 0\.1", words)
        assert any(model.digest[:12] in row for row in rows)


def test_gates(visit, toys, client):
    """Those of the bundle, as the API gives them; one that was overridden is not hidden away."""
    gates = {model.name: model.gates for model in client.models()}
    assert [vars(gate) for gate in gates["first"]] == GATES
    assert gates["second"] == ()
    page = visit("view=service", address=toys.http_address).page
    words = page.locator(".model-card", has=page.get_by_role("heading", name="first")).inner_text()
    assert "Gates before it was sealed (1 of 2 passed)" in words
    assert re.search(r"parity passed\s+at most 1e-05\s+2.4e-07", words)
    assert re.search(r"active units failed, overridden\s+at least 1\s+<b>0</b>", words)


def test_calls_are_counted_live(visit, toys, client):
    """Who calls sees it: the rate, the latency, the batch, the table by method; failures as well."""
    page = visit("view=service", address=toys.http_address).page
    wait_for_chart(page, "Queue", "now rows waiting 0")
    for _ in range(30):
        client.sample("first", 5, seed=1)
    with pytest.raises(VaeError):
        client.sample("first", 5, pool="nobody")
    wait_for_chart(page, "Requests a second", r"now all [1-9]|highest [1-9]")
    patience.wait_until(lambda: page.wait_for_timeout(50) or calls_of(page).get("Sample", [""])[0] == "31")
    calls, failed, rate, median, high = calls_of(page)["Sample"]
    assert (calls, failed) == ("31", "1")
    assert float(rate) > 0
    assert re.fullmatch(r"[0-9.]+ (µs|ms|s)", median)
    assert re.fullmatch(r"[0-9.]+ (µs|ms|s)", high)
    assert re.search(r"highest [0-9.]+ (µs|ms|s)", chart(page, "Latency"))
    assert re.search(r"highest [1-9]", chart(page, "Batch size"))


def test_figures_of_one_model(visit, toys, client):
    """Those of another are left out; the choice is in the address."""
    client.decode("second", np.zeros((1, toy.LATENTS), np.float32))
    client.sample("first", 1)
    page = visit("view=service&of=second", address=toys.http_address).page
    patience.wait_until(lambda: page.wait_for_timeout(50) or "Decode" in calls_of(page))
    assert "Sample" not in calls_of(page)
    page.get_by_label("Figures of").select_option("first")
    wait_for_fragment(page, "of", "first")
    patience.wait_until(lambda: page.wait_for_timeout(50) or "Sample" in calls_of(page))
    assert "Decode" not in calls_of(page)
    page.get_by_label("Figures of").select_option("")
    page.wait_for_function("() => !location.hash.includes('of=')")


def test_drift_of_what_the_encoder_gets(visit, toys, client):
    """Before a hundred images there is no figure, then there is."""
    page = visit("view=service&model=first", address=toys.http_address).page
    wait_for_chart(page, "Drift", "no figures yet")
    page.get_by_text("of first; 0 is like the training data").wait_for()
    images = toy.decode(np.zeros((120, toy.LATENTS), np.float32))
    client.encode("first", images)
    wait_for_chart(page, "Drift", "now shift of the mean [0-9.]+, change of variance [0-9.]+")


def test_pause(visit, toys):
    """Nothing is asked any more, until it goes on."""
    opened = visit("view=service", address=toys.http_address)
    page = opened.page
    page.clock.install()
    page.reload()
    wait_for_chart(page, "Queue", "now")
    page.get_by_role("button", name="Pause").click()
    seen = chart(page, "CPU")

    def metrics():
        return sum(address.endswith("/explorer/metrics") for address in opened.requests)

    page.wait_for_load_state("networkidle")
    before = metrics()
    page.clock.fast_forward(60_000)
    page.wait_for_load_state("networkidle")
    assert metrics() == before
    page.get_by_role("button", name="Go on").click()
    patience.wait_until(lambda: page.wait_for_timeout(50) or metrics() > before)
    assert seen.startswith("CPU")


def test_a_restart_of_the_server(visit, tmp_path):
    """The page says that nobody answers, and goes on by itself with the new process's figures."""
    toy.make_bundle(tmp_path / "models")
    with serving(tmp_path / "models") as before:
        page = visit("view=service", address=before.http_address).page
        wait_for_chart(page, "Queue", "now")
        with Client(before.grpc_address) as client:
            for _ in range(3):
                client.sample("toy", 1)
        patience.wait_until(lambda: page.wait_for_timeout(50) or calls_of(page).get("Sample", [""])[0] == "3")
        before.terminate()
        page.get_by_text("The server does not answer.").wait_for()
    with serving(tmp_path / "models", "--http-address", before.http_address) as after:
        page.get_by_text("The server is back.").wait_for()
        with Client(after.grpc_address) as client:
            client.sample("toy", 1)
        patience.wait_until(lambda: page.wait_for_timeout(50) or calls_of(page).get("Sample", [""])[0] == "1")


def test_a_new_version_appears(visit, tmp_path):
    """Without a reload of the page."""
    toy.make_bundle(tmp_path / "models")
    toy.make_bundle(tmp_path / "other", version=2, seed=1)
    with serving(tmp_path / "models", "--reload-s", "0.2") as server:
        page = visit("view=service", address=server.http_address).page
        table = page.get_by_role("region", name="Versions that the server knows of")
        table.wait_for()
        shutil.move(tmp_path / "other/toy/2", tmp_path / "models/toy/2")
        page.locator("#status").filter(has_text="served in a new version, 2").wait_for()
        table.locator("tbody tr", has_text="default").filter(has_text="2").wait_for()


def test_one_of_several_workers(visit, tmp_path):
    """Says that its figures are one process's."""
    toy.make_bundle(tmp_path / "models")
    with serving(tmp_path / "models", "--workers", "2") as server:
        page = visit("view=service", address=server.http_address).page
        page.get_by_text(
            re.compile(r"figures of one process, worker \d: each of the server’s workers")
        ).wait_for()
