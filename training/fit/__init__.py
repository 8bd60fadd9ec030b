"""Fitting a model: the loop, and what it is made of. Importing this package alone loads no torch."""
