"""A grid of strings as a terminal or a Markdown table."""

import textwrap
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A title, a header of C names, rows of C cells, a caption."""

    title: str
    header: list[str]
    rows: list[list[str]]
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
            table.add_row(*(Text(row[index]) for index in columns))
        console.print(table)
        console.print()
        title = f"{grid.title} (continued)"
    if grid.caption:
        console.print(Text(grid.caption, style="dim"))
        console.print()


def _width(grid: Grid, index: int) -> int:
    """Characters that a column needs: its longest cell or the longest word of its name."""
    return max(1, *(len(word) for word in [*grid.header[index].split(), *(row[index] for row in grid.rows)]))


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
    lines = [grid.header, ["---", *["---:"] * (len(grid.header) - 1)], *grid.rows]
    body = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
    parts = [f"#### {grid.title}", body, grid.caption]
    return "\n\n".join(part for part in parts if part)
