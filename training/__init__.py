"""Fits variational autoencoders and exports them as bundles."""

import os

# torch's OpenMP threads spin while they wait for each other, by default so long that on a machine that is
# busy with anything else a thread burns whole time slices waiting for one that does not run: training was up
# to 20 times slower beside one other program. Sleeping at once costs a third on a quiet machine; this many
# turns, some tens of microseconds, cost nothing there. Read when torch is loaded, so it must be set before.
os.environ.setdefault("GOMP_SPINCOUNT", "50000")
