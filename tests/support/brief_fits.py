"""Flags of ``vae-train fit`` for trainings that are there for what comes after them."""

PLAIN = ("--prior", "normal", "--deformation", "0")
"""What the digits' preset has beside these takes time, and more steps than such a training has."""
MLP = (*PLAIN, "--network", "mlp", "--batch-size", "32", "--no-tensorboard")
