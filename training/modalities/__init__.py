"""One room for each kind of data that a model can be trained on."""
