"""Images: the same tensor [C, H, W] goes into the encoder and comes out of the decoder."""
