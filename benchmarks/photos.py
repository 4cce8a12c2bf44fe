"""Photos of SA-1B's size, for benchmarks that read some."""

from pathlib import Path

from PIL import Image

from distill.jobs.sample_data import SAMPLE

WIDTH, HEIGHT = 2250, 1500  # pixels, of an SA-1B photo
SA1B_QUALITY = 90
SHIPPED_PHOTOS = SAMPLE / "train" / "images"


def make_photos(folder: Path, *, start: Path = SHIPPED_PHOTOS, count: int) -> Path:
    """Photos of SA-1B's size, made from those in `start`, turned to landscape."""
    folder.mkdir()
    paths = sorted(start.glob("*.jpg"))
    for number in range(count):
        photo = Image.open(paths[number % len(paths)]).convert("RGB")
        if photo.width < photo.height:
            photo = photo.transpose(Image.Transpose.ROTATE_90)
        photo.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).save(folder / f"{number:04d}.jpg", quality=SA1B_QUALITY)
    return folder
