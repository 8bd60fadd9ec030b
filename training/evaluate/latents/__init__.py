"""What latents are good for, and how the aggregate posterior lies to the prior."""
