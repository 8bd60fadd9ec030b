"""axe-core's opinion of every view: WCAG 2.2 at levels A and AA, and what its makers hold for good practice."""

import pytest

from tests.explorer import installed
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
    axe = (installed.find_package("axe-core") / "axe.min.js").read_text()
    page = visit(f"view={view}&model=digits", **shown).page
    opened(page, view)
    page.evaluate(axe)
    passed, found = page.evaluate(_RUN)
    assert passed > 15  # rules that it found something to apply to
    assert not [one for one in found if one["impact"] in ("serious", "critical")]
