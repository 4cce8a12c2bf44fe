"""The contact sheet: photos as rows; prompts, truth and each model's masks as columns; one PNG to look at."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import binary_dilation, binary_erosion

from encoders.errors import InputError
from encoders.files import atomic_path
from encoders.messages.shown import shown
from encoders.prompts import Prompts
from encoders.samples.overlap import mask_iou
from encoders.samples.sample import Sample
from eval_zeroshot.predictors.protocol import PredictorLike, ask
from eval_zeroshot.prompting.clicks import centre_point, click_prompts

COLORS = ((255, 159, 28), (45, 196, 182), (231, 29, 91), (131, 106, 255), (144, 190, 39), (0, 150, 255))
BACKGROUND, INK, SOFT = (250, 250, 248), (28, 28, 30), (110, 110, 115)
GAP_PIXELS, HEADER_PIXELS, LINE_PIXELS, CAPTION_PIXELS = 10, 56, 20, 24  # a header of two lines, a further line of it
TITLE_LETTER, CAPTION_LETTER = 16, 13  # pixels
OVERLAY = 0.5


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One cell: a photo with K masks, (K, H, W) bool, in the colours of their objects, and a line below."""

    masks: np.ndarray
    caption: str


Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Prompter = Callable[[PredictorLike, Sample, Sequence[int]], np.ndarray]


def contact_sheet(
    samples: Iterable[Sample],
    predictors: Mapping[str, PredictorLike],
    *,
    out: Path | str,
    prompt: str = "box",
    photos: int = 6,
    objects: int = 4,
    panel_pixels: int = 300,
) -> Path:
    """Write a PNG with the masks of several models for the same prompts.

    Args:
        samples: photos; those without a countable object are passed over.
        predictors: name -> predictor, the columns in their order; put the teacher first.
        out: the PNG; written under a temporary name and renamed.
        prompt: "box" (single mask) or "point" (centre click, most confident of three).
        photos: rows at most.
        objects: objects of a photo at most, the largest ones.
        panel_pixels: long side of a photo on the sheet.

    Raises:
        InputError: an unknown prompt, or no photo has an object to show.
    """
    if prompt not in PROMPTERS:
        raise InputError(f"no contact sheet for prompt {prompt!r}; prompts: {', '.join(PROMPTERS)}")
    rows: list[Image.Image] = []
    for sample in samples:
        if len(rows) == photos:
            break
        chosen = _largest(sample, count=objects)
        if chosen:
            panels = _panels(sample, chosen, predictors, prompter=PROMPTERS[prompt])
            rows.append(_row(sample, chosen, panels, prompt=prompt, width=panel_pixels))
    if not rows:
        raise InputError("no photo with an object to show; the contact sheet needs samples with masks")
    header = _header([f"photo and {prompt}", "truth", *predictors], width=panel_pixels)
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(out) as temporary:
        _stack([header, *rows]).save(temporary, format="PNG", optimize=True)
    return out


def _by_box(predictor: PredictorLike, sample: Sample, chosen: Sequence[int]) -> np.ndarray:
    masks, _, _ = ask(predictor, Prompts(boxes=sample.boxes[list(chosen)]), shape=sample.shape, multimask=False)
    return masks[:, 0]


def _by_point(predictor: PredictorLike, sample: Sample, chosen: Sequence[int]) -> np.ndarray:
    prompts = click_prompts([[centre_point(sample.masks[index])] for index in chosen])
    masks, scores, _ = ask(predictor, prompts, shape=sample.shape, multimask=True)
    return np.asarray(masks[np.arange(len(masks)), scores.argmax(axis=1)])


PROMPTERS: dict[str, Prompter] = {"box": _by_box, "point": _by_point}


def _largest(sample: Sample, *, count: int) -> list[int]:
    """Indices of the largest objects, crowds and empty masks left out, largest first so that small ones lie on top."""
    usable = [index for index, mask in enumerate(sample.masks) if not sample.crowd[index] and mask.any()]
    return sorted(usable, key=lambda index: -int(sample.masks[index].sum()))[:count]


def _panels(
    sample: Sample, chosen: Sequence[int], predictors: Mapping[str, PredictorLike], *, prompter: Prompter
) -> list[Panel]:
    truth = np.stack([sample.masks[index] for index in chosen])
    panels = [
        Panel(masks=truth[:0], caption=sample.key),
        Panel(masks=truth, caption="1 object" if len(chosen) == 1 else f"{len(chosen)} objects"),
    ]
    for predictor in predictors.values():
        predictor.set_image(sample.image)
        masks = prompter(predictor, sample, chosen)
        panels.append(Panel(masks=masks, caption=f"mIoU {mask_iou(masks, truth).mean():.2f}"))
    return panels


def _row(sample: Sample, chosen: Sequence[int], panels: Sequence[Panel], *, prompt: str, width: int) -> Image.Image:
    scale = width / max(sample.shape)  # no side is longer than a column is wide, so that portraits do not tower
    height, across = (max(1, round(side * scale)) for side in sample.shape)
    row = Image.new("RGB", (_sheet_width(len(panels), width), height + CAPTION_PIXELS), BACKGROUND)
    draw = ImageDraw.Draw(row)
    for column, panel in enumerate(panels):
        left = GAP_PIXELS + column * (width + GAP_PIXELS)
        picture = paint_masks(sample.image, panel.masks, size=(across, height))
        if column == 0 or (prompt == "point" and column > 1):
            _draw_prompts(picture, sample, chosen, prompt=prompt)
        row.paste(picture, (left, 0))
        caption = shortened(shown(panel.caption), width=width, draw=draw, font=ImageFont.load_default(CAPTION_LETTER))
        draw.text((left, height + 3), caption, fill=SOFT, font=ImageFont.load_default(CAPTION_LETTER))
    return row


def paint_masks(image: np.ndarray, masks: np.ndarray, *, size: tuple[int, int]) -> Image.Image:
    """A photo (H, W, 3) uint8 at `size` (width, height) with K masks (K, H, W) as coloured areas with a light outline."""
    pixels = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS), np.float32)
    if len(masks):
        pixels = pixels * 0.75 + 255 * 0.08  # a calmer photo lets the masks stand out
    for mask, color in zip(masks, _cycle(len(masks)), strict=True):
        small = Image.fromarray(mask.astype(np.uint8) * 255).resize(size, Image.Resampling.BOX)
        cover = np.asarray(small, np.float32)[..., None] / 255
        pixels += (np.asarray(color, np.float32) - pixels) * cover * OVERLAY
        inside = cover[..., 0] > 0.5
        pixels[inside & ~binary_erosion(inside)] = color
        pixels[binary_dilation(inside) & ~inside] = 255
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _draw_prompts(picture: Image.Image, sample: Sample, chosen: Sequence[int], *, prompt: str) -> None:
    draw = ImageDraw.Draw(picture)
    scale = np.asarray([picture.width / sample.shape[1], picture.height / sample.shape[0]])
    for index, color in zip(chosen, _cycle(len(chosen)), strict=True):
        if prompt == "box":
            corners = (sample.boxes[index].reshape(2, 2) * scale).clip(0, np.asarray(picture.size) - 1).ravel()
            draw.rectangle(tuple(map(float, corners)), outline=color, width=2)
        else:
            x, y = (np.asarray(centre_point(sample.masks[index])[:2]) + 0.5) * scale
            draw.ellipse((x - 6, y - 6, x + 6, y + 6), fill=(255, 255, 255))
            draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=color)


def _header(titles: Sequence[str], *, width: int) -> Image.Image:
    """The names of the columns, as many lines high as the longest needs."""
    draw, font = ImageDraw.Draw(Image.new("RGB", (1, 1))), ImageFont.load_default(TITLE_LETTER)
    texts = [wrapped(shown(title), width=width, draw=draw, font=font) for title in titles]
    height = HEADER_PIXELS + LINE_PIXELS * max(0, *(len(lines) - 2 for lines in texts))
    header = Image.new("RGB", (_sheet_width(len(titles), width), height), BACKGROUND)
    draw = ImageDraw.Draw(header)
    for column, lines in enumerate(texts):
        left = GAP_PIXELS + column * (width + GAP_PIXELS)
        draw.multiline_text((left, height - 8), "\n".join(lines), fill=INK, font=font, anchor="ld")
    return header


def wrapped(text: str, *, width: int, draw: ImageDraw.ImageDraw, font: Font) -> list[str]:
    """Lines of a text that are at most `width` pixels wide, broken at spaces, and inside a word that is wider."""
    lines = [""]
    for word in text.split():
        joined = f"{lines[-1]} {word}".strip()
        if draw.textlength(joined, font=font) <= width:
            lines[-1] = joined
            continue
        lines.append("")
        for letter in word:
            if draw.textlength(lines[-1] + letter, font=font) > width:
                lines.append("")
            lines[-1] += letter
    return [line for line in lines if line]


def shortened(text: str, *, width: int, draw: ImageDraw.ImageDraw, font: Font) -> str:
    """A text that is at most `width` pixels wide, with an ellipsis where its end is left out."""
    if draw.textlength(text, font=font) <= width:
        return text
    end = next(end for end in range(len(text), -1, -1) if end == 0 or draw.textlength(f"{text[:end]}…", font=font) <= width)
    return f"{text[:end]}…"


def _stack(strips: Sequence[Image.Image]) -> Image.Image:
    sheet = Image.new("RGB", (strips[0].width, sum(strip.height for strip in strips) + GAP_PIXELS), BACKGROUND)
    top = 0
    for strip in strips:
        sheet.paste(strip, (0, top))
        top += strip.height
    return sheet


def _sheet_width(columns: int, width: int) -> int:
    return GAP_PIXELS + columns * (width + GAP_PIXELS)


def _cycle(count: int) -> list[tuple[int, int, int]]:
    return [COLORS[index % len(COLORS)] for index in range(count)]
