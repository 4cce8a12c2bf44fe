"""The notebook as a page: its text, and its code in blocks."""

import json
from pathlib import Path

NOTEBOOK = "quickstart.ipynb"


def notebook_page(notebook: Path) -> str:
    """The cells in their order, with a link to the notebook itself below the title."""
    parts = []
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
    title, _, first = parts[0].partition("\n")
    link = f"[The notebook]({notebook.name}) of this page runs in Jupyter: `jupyter lab docs/{notebook.name}`."
    return "\n\n".join([title, link, first.strip(), *parts[1:]]) + "\n"
