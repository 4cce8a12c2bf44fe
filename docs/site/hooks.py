"""What mkdocs calls while it builds the site: pages that are generated, and links from pages to files of the checkout."""

import re
from pathlib import Path
from typing import Any

from generate import generated_pages
from mkdocs.structure.files import File, Files

STYLE = Path(__file__).with_name("tables.css")
CONFIG_LINK = re.compile(r"\]\(\.\./configs/(\w+)\.yaml\)")


def on_files(files: Files, *, config: Any) -> Files:
    """Add the generated pages, and the style of tables, to those that are files."""
    for path, content in generated_pages().items():
        files.append(File.generated(config, path, content=content))
    files.append(File.generated(config, STYLE.name, content=STYLE.read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Let a link to a shipped config lead to the page that shows it; on the site its file does not exist."""
    return CONFIG_LINK.sub(r"](reference/configs.md#\1)", markdown)
