"""Tables: records go into the encoder as three numbers a cell, and are drawn from what the decoder gives."""
