"""axe-core's opinion of every view: WCAG 2.2 at levels A and AA, and what its makers hold for good practice."""

import numpy as np
import pytest

from tests.explorer import installed, uploads
from tests.explorer.looking import wall_of
from tests.explorer.views import VIEWS, opened

_RUN = """
async () => {
  const { violations, passes } = await axe.run(document);
  return [passes.length, violations.map(({ id, impact, nodes }) =>
    ({ id, impact, where: nodes.map((node) => `${node.target}: ${node.failureSummary}`) }))];
}
"""


@pytest.mark.parametrize("shown", [{}, {"dark": True}, {"phone": True}], ids=["light", "dark", "phone"])
@pytest.mark.parametrize("view", VIEWS)
def test_nothing_serious(visit, view, shown):
    """Contrast, names, roles, order of headings, what a keyboard reaches: nothing serious or critical."""
    page = visit(f"view={view}&model=digits", **shown).page
    opened(page, view)
    check(page)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_nothing_serious_once_it_is_used(visit, dark):
    """An image is encoded; neighbours are shown, and a field says what is wrong with it."""
    page = visit("view=encode&model=digits", dark=dark).page
    uploads.choose(page, uploads.png(np.eye(8, dtype=np.uint8) * 255))
    page.get_by_role("heading", name="Pools").wait_for()
    check(page)
    page = visit("view=sample&model=digits&count=4&seed=1", dark=dark).page
    wall_of(page, 4)
    page.get_by_role("button", name="Image 2: show its neighbours").click()
    page.get_by_role("link", name="Vary it").wait_for()
    page.get_by_label("How many", exact=True).fill("many")
    page.keyboard.press("Tab")
    page.get_by_role("alert").filter(has_text="Want a whole number").wait_for()
    check(page)


def check(page):
    page.evaluate((installed.find_package("axe-core") / "axe.min.js").read_text())
    passed, found = page.evaluate(_RUN)
    assert passed > 15  # rules that it found something to apply to
    assert not [one for one in found if one["impact"] in ("serious", "critical")]
