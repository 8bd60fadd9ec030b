"""Tables of the command line: files read some rows at a time, and written whole or not at all."""
