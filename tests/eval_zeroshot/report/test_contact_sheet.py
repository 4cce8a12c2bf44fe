import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from encoders.errors import InputError
from eval_zeroshot import FillBox, contact_sheet
from eval_zeroshot.report.contact_sheet import COLORS, paint_masks, shortened, wrapped


def test_the_sheet_has_a_row_for_each_photo_and_a_column_for_each_model(make_sample, tmp_path):
    samples = [make_sample((3, 2, 12, 15), (15, 5, 25, 10), key=key) for key in "ab"] + [make_sample(key="c")]
    models = {"teacher": FillBox(), "student": FillBox(0.1)}
    sizes = {}
    for rows in (1, 2):
        for prompt in ("box", "point"):
            out = contact_sheet(
                samples, models, out=tmp_path / "deep" / "s.png", prompt=prompt, photos=rows, panel_pixels=90
            )
            with Image.open(out) as sheet:
                assert (sheet.format, sheet.mode) == ("PNG", "RGB")
                sizes[rows, prompt] = sheet.size
    assert sizes[1, "box"] == sizes[1, "point"]
    assert sizes[2, "box"][0] == sizes[1, "box"][0] == 4 * 100 + 10
    assert sizes[2, "box"][1] - sizes[1, "box"][1] == 60 + 24  # a 30 x 20 photo at 90 x 60, its caption
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["s.png"]


def test_each_model_is_shown_with_its_own_masks(make_sample, tmp_path):
    sample = make_sample((3, 2, 12, 15))
    out = contact_sheet([sample], {"a": FillBox()}, out=tmp_path / "s.png", panel_pixels=300)
    pixels = np.asarray(Image.open(out).convert("RGB"), int)
    panels = [pixels[-240:-40, 10 + 310 * column : 310 * (column + 1)] for column in range(3)]
    inside = [panel[80, 75] for panel in panels]  # in the middle of the object
    assert np.abs(inside[1] - inside[2]).max() <= 1 and np.abs(inside[0] - inside[1]).max() > 20


def test_masks_are_painted_where_they_are_and_nowhere_else():
    image, mask = np.full((40, 60, 3), 100, np.uint8), np.zeros((1, 40, 60), bool)
    mask[0, 10:20, 30:50] = True
    painted = np.asarray(paint_masks(image, mask, size=(60, 40)), int)
    assert tuple(painted[10, 30]) == COLORS[0]  # outline
    assert painted[15, 40, 0] > painted[15, 40, 2] + 50  # orange inside
    assert len(set(painted[30, 40])) == 1  # grey outside


def test_unknown_prompts_and_photos_without_objects_are_input_errors(make_sample, tmp_path):
    with pytest.raises(InputError, match="box, point"):
        contact_sheet([make_sample((1, 1, 5, 5))], {}, out=tmp_path / "s.png", prompt="text")
    with pytest.raises(InputError, match="no photo with an object"):
        contact_sheet([make_sample()], {"a": FillBox()}, out=tmp_path / "s.png")


def test_long_names_have_lines_of_their_own_and_keep_to_their_column(make_sample, tmp_path):
    sample = make_sample((3, 2, 12, 15), key="k" * 200)
    sheets = {}
    for name in ("a", "n" * 60):
        models = {name: FillBox(), "b": FillBox()}
        out = contact_sheet([sample], models, out=tmp_path / "s.png", panel_pixels=120)
        sheets[name] = np.asarray(Image.open(out).convert("L"), int)
    short, long = sheets.values()
    assert long.shape[0] > short.shape[0] + 40 and long.shape[1] == short.shape[1]
    background = np.bincount(long.ravel()).argmax()
    for column in range(5):  # nothing is in the gaps between columns
        assert (long[:, 130 * column : 130 * column + 8] == background).all()


def test_names_are_wrapped_whole_and_captions_end_in_an_ellipsis():
    draw, font = ImageDraw.Draw(Image.new("RGB", (1, 1))), ImageFont.load_default(16)
    name = "photo " + "n" * 40 + " end"
    lines = wrapped(name, width=100, draw=draw, font=font)
    assert "".join(lines).replace(" ", "") == name.replace(" ", "")
    assert all(draw.textlength(line, font=font) <= 100 for line in lines)
    cut = shortened(name, width=100, draw=draw, font=font)
    assert cut.startswith("photo n") and cut.endswith("n…") and draw.textlength(cut, font=font) <= 100
    assert shortened("photo", width=100, draw=draw, font=font) == "photo"
