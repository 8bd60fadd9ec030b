"""Records: rows of a table, in whatever form a caller has them, and as they come back."""
