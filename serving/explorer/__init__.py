"""The latent explorer: a page that speaks to the service itself, and what it needs besides the API."""
