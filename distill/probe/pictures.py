"""A picture of a probe: photos as rows; the photo, the teacher's masks and the student's as columns."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from distill.probe.measure import Measure
from encoders.sam import Sam
from eval_zeroshot.report.contact_sheet import paint_masks

OBJECTS = 6  # of a photo, whose colours can be told apart
PANEL_PIXELS, GAP_PIXELS, HEADER_PIXELS = 256, 8, 16
TITLES = ("photo", "teacher", "student")
BACKGROUND, INK = (250, 250, 248), (28, 28, 30)


def picture(measure: Measure, *, student: Sam, photos: int) -> Image.Image:
    """Draw the masks for the boxes of the first photos of a probe."""
    rows: list[Sequence[Image.Image]] = []
    for number, group in enumerate(measure.groups):
        if len(rows) < photos:
            teacher, mine = measure.masks(student, group=number)
            index, stored = group.batch.image_index.cpu().numpy(), group.batch.photos
            for photo, (pixels, (height, width)) in enumerate(zip(stored.pixels.cpu(), stored.shapes, strict=True)):
                image = pixels[:, :height, :width].permute(1, 2, 0).numpy()
                chosen = np.flatnonzero(index == photo)[:OBJECTS]
                scale = PANEL_PIXELS / max(height, width)
                size = (max(1, round(width * scale)), max(1, round(height * scale)))
                both = [masks[chosen][:, :height, :width] for masks in (teacher, mine)]
                rows.append([paint_masks(image, masks, size=size) for masks in (both[0][:0], *both)])
    return _stacked(rows[:photos])


def _stacked(rows: Sequence[Sequence[Image.Image]]) -> Image.Image:
    step = PANEL_PIXELS + GAP_PIXELS
    heights = [max(panel.height for panel in row) + GAP_PIXELS for row in rows]
    sheet = Image.new("RGB", (GAP_PIXELS + step * len(TITLES), HEADER_PIXELS + sum(heights)), BACKGROUND)
    draw, top = ImageDraw.Draw(sheet), HEADER_PIXELS
    for column, title in enumerate(TITLES):
        draw.text((GAP_PIXELS + column * step, 2), title, fill=INK)
    for row, height in zip(rows, heights, strict=True):
        for column, panel in enumerate(row):
            sheet.paste(panel, (GAP_PIXELS + column * step, top))
        top += height
    return sheet
