"""Which columns of a table are shown: those asked for, or those that fit beside each other."""

from collections.abc import Iterable, Sequence

from encoders.errors import InputError, did_you_mean
from eval_zeroshot.metrics.masks import SIZES
from eval_zeroshot.report.columns import CLICKS
from eval_zeroshot.report.render import GAP, Grid, column_width, least_name

ALL = "all"
MODEL = "model"
ALWAYS = (MODEL, "value", "image_size", "padding", "n")  # the last three are there where they differ, which must be seen


def check_columns(columns: Sequence[str], grids: Iterable[Grid]) -> None:
    """Make sure that each name is a column of some grid.

    Raises:
        InputError: a name is none; it lists those there are.
    """
    grids = list(grids)
    known = dict.fromkeys([ALL, *(key for grid in grids for key in grid.keys)])
    for name in columns:
        if name not in known:
            hint = _nearest(name, grids)
            raise InputError(f"--columns {name}: no table has this column{hint}; of these suites there are {', '.join(known)}")


def _nearest(name: str, grids: Iterable[Grid]) -> str:
    """"; did you mean X?": the column whose name, or title as tables print it, comes nearest in whatever case."""
    keys = {ALL: ALL}
    for grid in grids:
        keys |= {word.lower(): key for key, title in zip(grid.keys, grid.header, strict=True) for word in (title, key)}
    near = did_you_mean(name.lower(), keys).removeprefix("; did you mean ").removesuffix("?")
    return f"; did you mean {keys[near]}?" if near else ""


def with_columns(grid: Grid, columns: Sequence[str]) -> Grid:
    """A grid with the columns asked for, in that order, after the model's; with its value where it has none of them.

    Args:
        columns: keys of columns, "all", or nothing, which means all as well.
    """
    if not columns or ALL in columns:
        return grid
    found = [index for name in dict.fromkeys(columns) for index in _called(grid, name) if index]
    return grid.only([0, *(found or _called(grid, "value"))])


def fitting(grid: Grid, *, width: int) -> tuple[Grid, list[str]]:
    """A grid with the columns that fit into a terminal of some `width`, and the titles of those left out.

    What matters most comes first, and columns that belong together, as those of the sizes, are shown or left out together.
    What must be seen is kept even where it does not fit.
    """
    printed = grid.shown()
    need = [column_width(printed, index) + GAP for index in range(len(grid.header))]
    kept = {index for index, key in enumerate(grid.keys) if key in ALWAYS}
    room = width - least_name(need[0] - GAP, width=width) - sum(need[index] for index in kept if index)
    for keys in _by_weight(grid):
        together = [index for index, key in enumerate(grid.keys) if key in keys]
        if sum(need[index] for index in together) <= room:
            room -= sum(need[index] for index in together)
            kept.update(together)
    left_out = [title for index, title in enumerate(grid.header) if index not in kept]
    return grid.only(sorted(kept)), left_out


def _by_weight(grid: Grid) -> list[tuple[str, ...]]:
    """Keys of columns that may be left out, those that belong together in one tuple, the most important first."""
    spread = ("interval",) if "interval" in grid.keys else ("error",)  # one of them says how sure the value is
    clicks = tuple(key for key in dict.fromkeys(grid.keys) if CLICKS.fullmatch(key))
    first = [spread, ("difference",), clicks, tuple(SIZES), ("agreement",)]
    taken = {key for keys in first for key in keys} | set(ALWAYS)
    rest = [(key,) for key in dict.fromkeys(grid.keys) if key not in taken and key != "error"]
    return [keys for keys in [*first, *rest, ("error",)] if set(keys) & set(grid.keys)]


def _called(grid: Grid, name: str) -> list[int]:
    return [index for index, key in enumerate(grid.keys) if key == name]
