"""Picture files as people have them, and as they should not be."""

import io
from typing import Any

import numpy as np
from PIL import Image


def png(pixels: np.ndarray, mode: str | None = None) -> bytes:
    """[H, W] or [H, W, C] uint8 as a PNG file."""
    return _file(Image.fromarray(pixels, mode), "PNG")


def photo(width: int, height: int) -> bytes:
    """A JPEG file: dark on the left, light on the right, and as large as one likes."""
    row = np.linspace(0, 255, width).astype(np.uint8)
    return _file(Image.fromarray(np.broadcast_to(row, (height, width))).convert("RGB"), "JPEG")


def animation() -> bytes:
    """A GIF whose first frame is black and whose second is white."""
    frames = [Image.new("L", (16, 16), grey) for grey in (0, 255)]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=50, loop=0)
    return file.getvalue()


def half_transparent() -> bytes:
    """Black above, nothing below."""
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[:4, :, 3] = 255
    return png(pixels)


PDF = b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\ntrailer << /Root 1 0 R >>\n%%EOF\n"


def choose(page: Any, content: bytes, name: str = "picture.png", kind: str = "image/png") -> None:
    """As the browser's dialogue for files does."""
    page.locator("input[type=file]").set_input_files([{"name": name, "mimeType": kind, "buffer": content}])


def _file(image: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()
