"""What all views have in common."""

from typing import Any

VIEWS = ("map", "sample", "encode", "walk", "vary", "compare", "service")


def opened(page: Any, view: str) -> None:
    """Wait until the view is there with something to see, and nothing went wrong."""
    page.locator(f"#view .view.{view} > *").first.wait_for()
    # What it asks first has been answered: a picture, a drawing or a table is there.
    page.locator(f"#view .view.{view}").locator("canvas:visible, img:visible, table:visible").first.wait_for()
    assert page.locator("#alert").inner_text() == ""
