"""Pictures of the gallery as data URIs: cut-outs with masks in colours that colour-blind readers tell apart."""

import base64
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import binary_dilation

from encoders.geometry import mask_box

RIGHT, MISSED, SURPLUS = (0, 114, 178), (230, 159, 0), (204, 121, 167)  # Okabe and Ito's blue, orange, purple
PROMPT = (255, 255, 255)
WIDTH_PIXELS, MOST_PIXELS = 300, 720  # of a picture's width, which opens large: the cut-out's own within these
MARGIN = 1.9  # a cut-out's side over the object's
LEAST_PIXELS = 120  # of a cut-out's width: a small object keeps its surroundings
RATIO = 4 / 3
OVERLAY = 0.55
QUALITY = 78
Crop = tuple[int, int, int, int]  # x0, y0, x1, y1 in pixels of the photo


def cut_out(mask: np.ndarray) -> Crop:
    """Where to cut a photo so that an object, (H, W) bool, is seen with its surroundings: 4:3 unless the photo is too small."""
    height, width = mask.shape
    x0, y0, x1, y1 = mask_box(mask)
    wide = max(LEAST_PIXELS, MARGIN * (x1 - x0), MARGIN * (y1 - y0) * RATIO)
    across, down = min(width, round(wide)), min(height, round(wide / RATIO))
    left = min(max(0, round((x0 + x1 - across) / 2)), width - across)
    top = min(max(0, round((y0 + y1 - down) / 2)), height - down)
    return left, top, left + across, top + down


def paint(image: np.ndarray, *, crop: Crop, truth: np.ndarray, answer: np.ndarray) -> Image.Image:
    """A cut-out of a photo (H, W, 3) with what an answer (H, W) has right, what it missed, what it has too much."""
    photo = _scaled(image, crop)
    pixels = np.asarray(photo.convert("L").convert("RGB"), np.float32) * 0.6 + np.asarray(photo, np.float32) * 0.25 + 30
    wanted, found = (_shape(mask, crop, size=photo.size) for mask in (truth, answer))
    for region, color in ((wanted & found, RIGHT), (wanted & ~found, MISSED), (found & ~wanted, SURPLUS)):
        pixels[region] += (np.asarray(color, np.float32) - pixels[region]) * OVERLAY
    pixels[binary_dilation(found, iterations=round(_fineness(photo.width))) & ~found] = 255
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def with_prompt(
    picture: Image.Image, *, crop: Crop, box: Sequence[float] | None = None, click: Sequence[float] | None = None
) -> Image.Image:
    """The same picture with a box, xyxy, or a click, xy of a pixel, both in pixels of the photo."""
    draw = ImageDraw.Draw(picture)
    scale, fine = picture.width / (crop[2] - crop[0]), _fineness(picture.width)
    if box is not None:
        x0, y0, x1, y1 = ((value - offset) * scale for value, offset in zip(box, (*crop[:2], *crop[:2]), strict=True))
        for grow, color in ((1, (0, 0, 0)), (0, PROMPT)):  # a dark rim keeps the line visible on white
            draw.rectangle((x0 - grow, y0 - grow, x1 + grow, y1 + grow), outline=color, width=round(2 * fine))
    if click is not None:
        x, y = ((value + 0.5 - offset) * scale for value, offset in zip(click, crop[:2], strict=True))
        for radius, color in ((7 * fine, (0, 0, 0)), (6 * fine, PROMPT), (3 * fine, RIGHT)):
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=color)
    return picture


def plain(image: np.ndarray, *, crop: Crop) -> Image.Image:
    """A cut-out of a photo as it is."""
    return _scaled(image, crop)


def edges_picture(edges: np.ndarray) -> Image.Image:
    """An edge map (H, W) in [0, 1] with strong edges dark on white, as BSDS500's figures have them."""
    shown = Image.fromarray(np.asarray(255 * (1 - np.clip(edges, 0, 1)), np.uint8))
    return shown.resize(_size(shown.width, shown.height), Image.Resampling.BOX)


def data_uri(picture: Image.Image) -> str:
    """A JPEG inside the page."""
    stream = io.BytesIO()
    picture.save(stream, format="JPEG", quality=QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"


def _scaled(image: np.ndarray, crop: Crop) -> Image.Image:
    x0, y0, x1, y1 = crop
    return Image.fromarray(image[y0:y1, x0:x1]).resize(_size(x1 - x0, y1 - y0), Image.Resampling.LANCZOS)


def _size(width: int, height: int) -> tuple[int, int]:
    """Width and height in pixels of the picture of a cut-out."""
    across = min(MOST_PIXELS, max(WIDTH_PIXELS, width))
    return across, max(1, round(across * height / width))


def _fineness(width: int) -> float:
    """How much thicker lines are on a picture so wide, which is seen as small as the others at first."""
    return width / WIDTH_PIXELS


def _shape(mask: np.ndarray, crop: Crop, *, size: tuple[int, int]) -> np.ndarray:
    x0, y0, x1, y1 = crop
    cut = Image.fromarray(mask[y0:y1, x0:x1].astype(np.uint8) * 255)
    return np.asarray(cut.resize(size, Image.Resampling.BILINEAR)) > 127
