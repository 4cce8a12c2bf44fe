"""A grid of cells as a terminal or a Markdown table."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from encoders.messages.shown import shown

MISSING = "–"  # what stands where there is no number
GAP = 2  # columns of a terminal between two columns of a table
WORD = 14  # columns that a word of a header may take; a longer one, as a model's name may be, is continued below
NAME, NAME_SHARE = 12, 0.3  # columns that names of rows have at least: so many, or this share of the terminal
MARKDOWN = re.compile(r"[\\|`*]|\](?=[(\[])|(?<!\w)_|_(?!\w)")  # what ends a cell, or begins code, emphasis, a link
ENTITY = re.compile(r"&(?=#?\w+;)")


class Cell(NamedTuple):
    """What is shown, and the number behind it where there is one, to sort by."""

    text: str
    value: float | None = None


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A title, a header of C names, rows of C cells, a caption. The first column names the row, the others are numbers.

    Attributes:
        keys: what a user calls each of the C columns, several of one key among them; none where columns are not chosen.
    """

    title: str
    header: list[str]
    rows: list[list[Cell]]
    caption: str = ""
    keys: list[str] = field(default_factory=list)

    def only(self, columns: Sequence[int]) -> "Grid":
        """The same grid with some of its columns, by number, in the order given."""
        return replace(
            self,
            header=[self.header[index] for index in columns],
            rows=[[row[index] for index in columns] for row in self.rows],
            keys=[self.keys[index] for index in columns] if self.keys else [],
        )

    def shown(self) -> "Grid":
        """The same grid with all text as it may be printed, see `encoders.messages.shown`."""
        rows = [[cell._replace(text=shown(cell.text)) for cell in row] for row in self.rows]
        header = [shown(title) for title in self.header]
        return replace(self, title=shown(self.title), header=header, rows=rows, caption=shown(self.caption))


def print_grid(grid: Grid, *, console: Console) -> None:
    """Print a grid; one that is wider than the terminal goes on below itself, its first column repeated.

    Names and words of a header that are longer than their column go on in the next line; nothing is cut.
    """
    grid = grid.shown()
    need = [column_width(grid, index) for index in range(len(grid.header))]
    title = grid.title
    for columns in _blocks(need, least=least_name(need[0], width=console.width), width=console.width):
        console.print(Text(title, style="bold"))
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, GAP - 1, 0, 0))
        room = console.width - sum(need[index] + GAP for index in columns[1:])
        for index in columns:
            width = need[index] if index else max(1, min(need[0], room))
            justify: Literal["left", "right"] = "right" if index else "left"
            table.add_column(Text(grid.header[index]), justify=justify, width=width, overflow="fold")
        for row in grid.rows:
            table.add_row(*(Text(row[index].text) for index in columns))
        console.print(table)
        console.print()
        title = f"{grid.title} (continued)"
    if grid.caption:
        console.print(Text(grid.caption, style="dim"))
        console.print()


def column_width(grid: Grid, index: int) -> int:
    """Columns of a terminal that a grid's column needs: those of its longest cell, or of its header with a word in a line."""
    words = [cell_len(word) for word in grid.header[index].split()]
    cells = [cell_len(row[index].text) for row in grid.rows]
    return max(1, min(WORD, max(words, default=0)), *cells)


def least_name(longest: int, *, width: int) -> int:
    """Columns of a terminal of some `width` that names of rows keep beside many numbers, the longest needing `longest`."""
    return min(longest, max(NAME, int(NAME_SHARE * width)))


def _blocks(need: Sequence[int], *, least: int, width: int) -> list[list[int]]:
    """Columns of each part of a grid that fits into `width`, where columns need so much and names at least `least`."""
    blocks: list[list[int]] = [[0]]
    room = width - least
    for index in range(1, len(need)):
        if need[index] + GAP > room and len(blocks[-1]) > 1:
            blocks.append([0])
            room = width - least
        blocks[-1].append(index)
        room -= need[index] + GAP
    return blocks


def grid_to_markdown(grid: Grid) -> str:
    """A heading, a pipe table and the caption."""
    cells = [[cell.text for cell in row] for row in grid.rows]
    lines = [grid.header, ["---", *["---:"] * (len(grid.header) - 1)], *cells]
    body = "\n".join("| " + " | ".join(map(to_markdown, line)) + " |" for line in lines)
    parts = [f"#### {to_markdown(grid.title)}", body, to_markdown(grid.caption)]
    return "\n\n".join(part for part in parts if part)


def to_markdown(text: str) -> str:
    """Text that Markdown prints as it is, in a cell too: no end of a cell, code, emphasis, link or HTML."""
    text = MARKDOWN.sub(r"\\\g<0>", shown(text))
    return ENTITY.sub("&amp;", text).replace("<", "&lt;")
