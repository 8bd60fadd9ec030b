"""What the page weighs, and whether its scripts fit their types."""

import subprocess

from serving.explorer.page_files import read_page
from tests.explorer import installed
from tests.explorer.views import VIEWS, opened
from tests.support.patience import SECONDS

MOST_BYTES = 300_000


def test_all_of_it_is_light():
    """Every file, as it is sent: at most 300 kB."""
    sizes = {path: len(file.packed or file.plain) for path, file in read_page().items()}
    assert sum(sizes.values()) <= MOST_BYTES, sizes


def test_a_visit_loads_no_more(visit):
    """What a browser received for the page's files, all views opened one after the other, and each file once,
    but for the icon, which Chromium looks at again whenever the address changes."""
    seen = visit("view=map&model=digits")
    page = seen.page
    opened(page, "map")
    for view in VIEWS[1:]:
        page.locator(f'#views a[data-view="{view}"]').click()
        opened(page, view)
    files = [answer for answer in seen.answers if "/explorer/" in answer.url and "/metrics" not in answer.url]
    addresses = [answer.url for answer in files if not answer.url.endswith("icon.svg")]
    assert len(addresses) == len(set(addresses)) > len(VIEWS)
    assert sum(answer.request.sizes()["responseBodySize"] for answer in files) <= MOST_BYTES


def test_the_scripts_fit_their_types():
    """TypeScript's compiler, as strict as it can be, has nothing to say."""
    compiler = installed.find_package("typescript") / "bin/tsc"
    command = [installed.find("node", "nodejs"), compiler, "--project", "serving/explorer/tsconfig.json"]
    done = subprocess.run(
        command, cwd=installed.ROOT, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout
