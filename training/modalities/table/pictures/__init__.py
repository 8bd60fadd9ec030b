"""What a report shows of a table: real rows beside synthetic ones, from cells alone."""
