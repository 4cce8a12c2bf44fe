"""The pages that are made of the code when the site is built, so that they cannot say anything else than the code does."""

from pathlib import Path

from api_pages import PACKAGES, api_page
from command_pages import commands_page
from config_pages import configs_page
from notebook_pages import NOTEBOOK, notebook_page
from suite_pages import suites_page

ROOT = Path(__file__).resolve().parent.parent.parent


def generated_pages() -> dict[str, str]:
    """Path below docs/ -> Markdown."""
    pages = {
        "reference/commands.md": commands_page(),
        "reference/configs.md": configs_page(),
        "reference/suites.md": suites_page(),
        "notebook.md": notebook_page(ROOT / "docs" / NOTEBOOK),
        "changes.md": (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"),
    }
    return pages | {f"reference/{package}.md": api_page(package) for package in PACKAGES}
