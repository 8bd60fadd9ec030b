"""Fits variational autoencoders and exports them as bundles."""

import os

# torch's OpenMP threads spin while they wait for each other. On a machine that is busy with anything else
# a thread then waits a whole time slice for one that does not run: small models were 2.7 times slower
# beside two other programs, and a demo of seconds took minutes. Read when torch is loaded, so it must be
# set before.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
