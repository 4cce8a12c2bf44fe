"""Grids as LaTeX, with the booktabs package."""

from collections.abc import Iterable

from encoders.messages.shown import shown
from eval_zeroshot.report.render import Grid

PREAMBLE = "% needs \\usepackage{booktabs} in the preamble"
SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "−": r"$-$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "↓": r"$\downarrow$",
    "–": "--",
    "…": r"\ldots{}",
}


def escape(text: str) -> str:
    """Text that LaTeX prints as it is."""
    return "".join(SPECIAL.get(letter, letter) for letter in shown(text))


def grid_to_latex(grid: Grid) -> str:
    """A table environment: title above, the model's column to the left, numbers to the right, the protocol below."""
    lines = [
        r"\begin{table}",
        r"\centering\small",
        rf"\caption{{{escape(grid.title)}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(grid.header) - 1)}}}",
        r"\toprule",
        _row(grid.header),
        r"\midrule",
        *(_row(cell.text for cell in row) for row in grid.rows),
        r"\bottomrule",
        r"\end{tabular}",
        rf"\par\smallskip\parbox{{\linewidth}}{{\footnotesize {escape(grid.caption)}}}",
        r"\end{table}",
    ]
    return "\n".join(lines)


def _row(cells: Iterable[str]) -> str:
    return " & ".join(map(escape, cells)) + r" \\"
