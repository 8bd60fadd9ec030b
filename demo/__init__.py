"""The whole way on handwritten digits: train, export, serve, call, watch. Run by ``make demo``."""
