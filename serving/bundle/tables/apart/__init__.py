"""Columns that the model does not know, and what records have in them."""
