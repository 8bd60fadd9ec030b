"""Training against other libraries."""
