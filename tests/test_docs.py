"""The documentation site, without mkdocs: nav, links, commands in pages, and what the generated pages must hold."""

import configparser
import json
import re
import shlex
import sys
from pathlib import Path

import pytest
import typer
import yaml

from distill.cli.app import COMMANDS, Commands

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
SITE = DOCS / "site"
PAGES = sorted(path.name for path in DOCS.glob("*.md"))


def nav_pages(nav):
    """All paths of a nav, in its order."""
    for entry in nav:
        for target in entry.values():
            yield from [target] if isinstance(target, str) else nav_pages(target)


@pytest.fixture(scope="module")
def nav() -> list[str]:
    return list(nav_pages(yaml.safe_load((SITE / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]))


@pytest.fixture(scope="module")
def scripts():
    """The scripts of the site, which import each other as mkdocs lets them."""
    names = {path.stem for path in SITE.glob("*.py")}
    sys.path.insert(0, str(SITE))
    try:
        import config_pages
        import generate

        yield generate, config_pages
    finally:
        sys.path.remove(str(SITE))
        for name in names:
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def generated(scripts) -> dict[str, str]:
    return scripts[0].generated_pages()


def headings(text: str) -> set[str]:
    """Anchors of a page, as Markdown's table of contents makes them."""
    outside = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", outside, flags=re.MULTILINE)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower()) for title in titles}


def test_every_page_is_in_the_nav_once_and_every_entry_is_a_page(nav, generated):
    assert len(PAGES) > 15
    assert sorted(nav) == sorted([*PAGES, *generated])


def test_relative_links_lead_to_pages_pictures_or_shipped_configs(generated):
    pages = {name: (DOCS / name).read_text(encoding="utf-8") for name in PAGES} | generated
    links = [(name, link) for name, text in pages.items() for link in re.findall(r"\]\(([^)\s]+)\)", text) if ":" not in link]
    assert len(links) > 40
    broken = []
    for name, link in links:
        target, _, anchor = link.partition("#")
        path = (DOCS / name).parent / target if target else DOCS / name
        page = path.resolve().relative_to(ROOT).as_posix().removeprefix("docs/")
        there = page in pages or (path.is_file() and (page.startswith("configs/") or path.suffix in (".jpg", ".ipynb")))
        if not there or (anchor and anchor not in headings(pages[page])):
            broken.append(f"{name}: {link}")
    assert broken == []


def test_the_readme_is_short_and_its_links_lead_to_files():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 130
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if ":" not in link and not link.startswith("#")]
    assert len(links) > 20
    assert [link for link in links if not (ROOT / link).is_file()] == []
    anchors = [link[1:] for link in re.findall(r"\]\((#[^)\s]+)\)", text)]
    assert [anchor for anchor in anchors if anchor not in headings(text)] == []


def test_the_notebook_is_stored_without_outputs_and_is_a_page(generated):
    cells = json.loads((DOCS / "quickstart.ipynb").read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert len(code) >= 5
    assert [cell["id"] for cell in code if cell["outputs"] or cell["execution_count"]] == []
    assert all(f"```python\n{''.join(cell['source'])}\n```" in generated["notebook.md"] for cell in code)


def test_the_rooms_of_each_package_are_described_in_the_order_that_import_linter_holds():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    for package in ("encoders", "shards", "eval_zeroshot", "distill"):
        layers = setup[f"importlinter:contract:{package}"]["layers"].strip().splitlines()
        level = {room.strip(): number for number, layer in enumerate(layers) for room in layer.split("|")}
        section = text.split(f"\n### {package}\n")[1].split("\n#")[0]
        rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
        described = [room for row in rows for room in re.findall(r"`(\w+)`", row)]
        assert sorted(described) == sorted(level), package
        assert [level[room] for room in described] == sorted(level.values()), package


def test_the_files_on_the_way_of_a_sample_exist():
    text = (DOCS / "architecture.md").read_text(encoding="utf-8").split("## The way of a sample")[1].split("\n## ")[0]
    named = re.findall(r"`([\w/]+\.py|[\w/]+/)`", text)
    assert len(named) > 30
    packages = ("encoders", "shards", "eval_zeroshot", "distill")
    files = [f"/{path.relative_to(ROOT)}" for package in packages for path in (ROOT / package).rglob("*.py")]
    assert [name for name in named if not any(f"/{name}" in file for file in files)] == []


@pytest.mark.parametrize("page", ["index.md", "sa1b.md", "precompute.md", "evaluate.md", "../README.md"])
def test_commands_of_a_page_know_their_options(page):
    text = re.sub(r"\\\n\s*", "", (DOCS / page).read_text(encoding="utf-8"))
    lines = [line.split(" #")[0] for line in re.findall(r"^repvit-sam (.*)$", text, flags=re.MULTILINE)]
    assert len(lines) >= 3
    for line in lines:
        name, *arguments = shlex.split(line)
        command = Commands.load(name)
        below = getattr(command, "commands", {})
        if below:  # options alone mean the first sub-command: models, make
            called = arguments.pop(0) if arguments[0] in below else next(iter(below))
            command = command.get_command(typer.Context(command), called)
        command.make_context(name, arguments)  # fails where an option is unknown or missing


def test_every_command_has_a_section_with_every_option(generated):
    page = generated["reference/commands.md"]
    sections = dict(re.findall(r"^##+ ([\w -]+)\n(.*?)(?=^##|\Z)", page, flags=re.MULTILINE | re.DOTALL))
    seen = 0
    for name in COMMANDS:
        command = Commands.load(name)
        below = {f"{name} {sub}": child for sub, child in getattr(command, "commands", {}).items()}
        for called, one in ({name: command} | below).items():
            for parameter in one.params:
                if parameter.param_type_name == "option" and not parameter.hidden and (one is not command or not below):
                    assert f"`{parameter.opts[0]}`" in sections[called], f"{called} {parameter.opts[0]}"
                    assert parameter.help and " ".join(parameter.help.split())[:8].split("*")[0] in sections[called]
                    seen += 1
        assert sections[name].strip()
    assert seen > 100


def test_every_key_of_both_kinds_of_config_and_every_shipped_config_is_there(scripts, generated):
    page = generated["reference/configs.md"]
    keys = {key for kind in scripts[1].KINDS.values() for key in scripts[1].keys(kind)}
    assert {"optim.lr", "source.views", "mask_data.sets.annotations"} <= keys
    assert [key for key in keys if f"| `{key}` |" not in page] == []
    assert "| `optim.clip_grad_norm` | number, at least 0 | `1.0` | 0: no clipping |" in page
    assert "| `codec` | text | `\"int8\"` |" in page
    assert "### distill_repvit_m2_3_sa1b\n" in page
    assert "| `schedule.steps` | integer, at least 1; or nothing | `null` |\n" in page, "no column of meanings without any"


def test_every_suite_has_its_version_and_protocol(generated):
    from eval_zeroshot.suites.registry import SUITES, ready_suites

    page = generated["reference/suites.md"]
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", page, flags=re.MULTILINE | re.DOTALL))
    assert set(sections) == set(SUITES)
    plain = {name: " ".join(re.sub(r"^- ", "", text, flags=re.MULTILINE).split()) for name, text in sections.items()}
    for name, suite in ready_suites().items():
        assert f"Version `{suite.version}`; {suite.direction} is better." in plain[name]
        assert suite.protocol.split("; ")[0][:20] in plain[name]
    assert "RepViT-SAM's. - Score" not in plain["instance_repvit_sam"]
    assert "the 300 best" in plain["instance_repvit_sam"]


def test_the_python_reference_has_every_public_name(generated):
    import encoders
    import eval_zeroshot
    import shards

    for package in (encoders, shards, eval_zeroshot):
        named = re.findall(rf"^::: {package.__name__}\.(\w+)$", generated[f"reference/{package.__name__}.md"], re.MULTILINE)
        assert named == package.__all__


def test_make_docs_builds_strictly_with_the_extra():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert "mkdocs-material" in setup["options.extras_require"]["docs"]
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").split("\ndocs:")[1].split("\n\n")[0]
    assert ".[docs]" in recipe
    build = next(line for line in recipe.splitlines() if "mkdocs build" in line)
    assert "--strict" in build
    assert "quiet" not in build, "mkdocs counts no warnings then, and nothing is strict"
