"""Every hostile input has the outcome that docs/hostile_inputs.md states. Nothing crashes, hangs or gets into a cache."""

import json
import resource
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import shards
from encoders.errors import InputError
from tests.shards.helpers import standin
from tests.shards.helpers.checks import cached_names
from tests.shards.hostile import cases
from tests.shards.hostile.case import Case, table

CASES = [pytest.param(case, id=case.name) for cases in cases.GROUPS.values() for case in cases]
MORE_MEMORY = 400 << 10  # KiB that a case may add to the process's peak
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "hostile_inputs.md"


@pytest.fixture(scope="module")
def teacher():
    return standin.standin_teacher()


@pytest.fixture
def places() -> Iterator[tuple[Path, Path]]:
    """An empty folder for a source and one for a cache, open to all; the test ends when a case hangs."""
    signal.signal(signal.SIGALRM, lambda number, frame: pytest.fail("hangs"))
    signal.alarm(120)
    with tempfile.TemporaryDirectory() as name:
        for folder in (Path(name), Path(name, "source"), Path(name, "out"), Path(name, "cache")):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o777)
        yield Path(name, "source"), Path(name)
    signal.alarm(0)


def precompute(source: shards.Source, out: Path, teacher) -> shards.Manifest:
    call = {**standin.CALL, "max_bad_fraction": 1.0, "codec_gate": False}
    shards.precompute(source, teacher=teacher, out=out, **call)
    return shards.Manifest.read(out)


@pytest.mark.filterwarnings("ignore")  # PIL says what it skips
@pytest.mark.parametrize("case", CASES)
def test_a_hostile_input_has_its_outcome(case: Case, places, teacher):
    folder, out = places
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if case.outcome == "refused":
        spec = case.build(folder)
        with case.around(), pytest.raises(InputError) as refusal:
            shards.open_source(spec)
        assert case.says in str(refusal.value)
        return
    source = shards.open_source(case.build(folder))
    case.then(folder)
    with case.around():
        shards.ingest(source, out=out / "out", decode=True, max_bad_fraction=1.0)
        manifest = precompute(source, out / "cache", teacher)
    bad = manifest.quarantined
    assert bad == read_lines(out / "out" / "quarantine.jsonl")
    assert bool(bad) == (case.outcome == "quarantined")
    assert case.outcome != "quarantined" or any(case.says in line["reason"] for line in bad)
    for line in bad:
        assert set(line) == {"shard", "key", "where", "reason"} and line["shard"] == "train-000000.tar" and line["key"]
        assert line["where"].isprintable() and line["where"] in line["reason"]
    if bad:
        words = f"{len(bad)} photos of {len(source.items())} cannot be used, max_bad_fraction=0 allows 0"
        with pytest.raises(InputError, match=words), case.around():
            shards.ingest(source, out=out / "out", decode=True, max_bad_fraction=0)
    names = cached_names(manifest)
    assert len(names) + len(bad) == len(source.items())
    both = names & {line["where"] for line in bad}  # of two photos of one name the first counts
    assert not both or any(word in bad[0]["reason"] for word in ("a second jpg", "duplicate key"))
    assert len(names) == (3 if case.outcome == "kept" else 2 if case.outcome == "left out" else len(names))
    assert any("sa_1" in name for name in names)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MORE_MEMORY


def read_lines(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def test_the_document_is_in_step_with_the_tests():
    """To bring it up to date: python -m tests.shards.hostile.cases > docs/hostile_inputs.md"""
    assert len(CASES) >= 100
    assert DOCUMENT.read_text() == table(cases.GROUPS)
