"""The page before a server that wants a token."""

import pytest

from tests.explorer.views import opened
from tests.support.process import serving

TOKEN = "correct-horse"


@pytest.fixture(scope="module")
def guarded(repository, tmp_path_factory, browser):
    file = tmp_path_factory.mktemp("secrets") / "token"
    file.write_text(TOKEN)
    with serving(repository, "--auth-token-file", str(file)) as started:
        yield started


def test_it_is_asked_for_once(visit, guarded):
    """A wrong one is refused in words; the right one opens the view, and a reload does not ask again."""
    seen = visit("view=sample&model=digits", address=guarded.http_address)
    page = seen.page
    field = page.locator('input[type="password"]')
    field.fill("wrong")
    field.press("Enter")
    page.get_by_text("The server did not take that token").wait_for()
    field.fill(TOKEN)
    field.press("Enter")
    opened(page, "sample")
    page.reload()
    opened(page, "sample")
    assert field.count() == 0
    assert TOKEN not in page.url


def test_another_tab_is_another_visit(visit, guarded):
    """The token is kept for the tab, and is in no place that outlives it."""
    first = visit("view=sample&model=digits", address=guarded.http_address).page
    first.locator('input[type="password"]').fill(TOKEN)
    first.locator('input[type="password"]').press("Enter")
    opened(first, "sample")
    kept = "() => JSON.stringify([Object.entries(localStorage), document.cookie])"
    assert first.evaluate(kept) == '[[],""]'
    second = first.context.new_page()
    second.goto(first.url)
    second.locator('input[type="password"]').wait_for()
