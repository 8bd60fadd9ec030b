"""The pictures of a report: grids of images, charts and an animation."""
