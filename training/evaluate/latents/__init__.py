"""What latents are good for, how the aggregate posterior lies to the prior, and where data lie on a map."""
