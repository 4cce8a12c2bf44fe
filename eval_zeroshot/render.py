"""A grid of cells as a terminal or a Markdown table."""

import textwrap
from dataclasses import dataclass
from typing import NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

MISSING = "–"  # what stands where there is no number


class Cell(NamedTuple):
    """What is shown, and the number behind it where there is one, to sort by."""

    text: str
    value: float | None = None


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A title, a header of C names, rows of C cells, a caption. The first column names the row, the others are numbers."""

    title: str
    header: list[str]
    rows: list[list[Cell]]
    caption: str = ""


GAP = 2  # columns of a terminal between two columns of a table


def print_grid(grid: Grid, *, console: Console) -> None:
    """Print a grid; one that is wider than the terminal goes on below itself, its first column repeated."""
    title = grid.title
    for columns in _blocks(grid, width=console.width):
        console.print(Text(title, style="bold"))
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, GAP - 1, 0, 0))
        for index in columns:
            header = textwrap.fill(grid.header[index], _width(grid, index))
            table.add_column(Text(header), justify="left" if index == 0 else "right", no_wrap=True)
        for row in grid.rows:
            table.add_row(*(Text(row[index].text) for index in columns))
        console.print(table)
        console.print()
        title = f"{grid.title} (continued)"
    if grid.caption:
        console.print(Text(grid.caption, style="dim"))
        console.print()


def _width(grid: Grid, index: int) -> int:
    """Characters that a column needs: its longest cell or the longest word of its name."""
    return max(1, *(len(word) for word in [*grid.header[index].split(), *(row[index].text for row in grid.rows)]))


def _blocks(grid: Grid, *, width: int) -> list[list[int]]:
    """Columns of each part of a grid that fits into `width` characters."""
    need = [_width(grid, index) + GAP for index in range(len(grid.header))]
    blocks: list[list[int]] = [[0]]
    room = width - need[0]
    for index in range(1, len(grid.header)):
        if need[index] > room and len(blocks[-1]) > 1:
            blocks.append([0])
            room = width - need[0]
        blocks[-1].append(index)
        room -= need[index]
    return blocks


def grid_to_markdown(grid: Grid) -> str:
    """A heading, a pipe table and the caption."""
    cells = [[cell.text for cell in row] for row in grid.rows]
    lines = [grid.header, ["---", *["---:"] * (len(grid.header) - 1)], *cells]
    body = "\n".join("| " + " | ".join(_plain(cell) for cell in line) + " |" for line in lines)
    parts = [f"#### {grid.title}", body, grid.caption]
    return "\n\n".join(part for part in parts if part)


def _plain(cell: str) -> str:
    """Text that neither ends a Markdown cell nor starts HTML."""
    return cell.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
