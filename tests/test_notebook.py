"""The notebook, run cell by cell without Jupyter."""

import json
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "docs" / "quickstart.ipynb"

pytestmark = pytest.mark.slow


@pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive")
@pytest.mark.parametrize("students", [True, False])
def test_every_cell_of_the_notebook_runs_and_student_and_teacher_agree(students, tmp_path, monkeypatch):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    if students and not (ROOT / "runs" / "quickstart" / "repvit_m0_6" / "encoder.safetensors").is_file():
        pytest.skip("runs/quickstart has no students; run make quickstart first")
    monkeypatch.chdir(NOTEBOOK.parent if students else tmp_path)  # Jupyter's working directory is the notebook's
    space = {"__name__": "__main__"}
    cells = [cell for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    for cell in cells:
        exec(compile("".join(cell["source"]), f"cell {cell['id']} of {NOTEBOOK.name}", "exec"), space)
    figures = [space["plt"].figure(number) for number in space["plt"].get_fignums()]
    try:
        assert len(figures) == 2
        assert all(axes.images for figure in figures for axes in figure.axes)
    finally:
        space["plt"].close("all")
    agreement = space["agreement"]
    teacher = space["teacher"]
    assert np.all(agreement["box", teacher] == 1)
    assert ((("box", "RepViT-M0.6") in agreement) is students)
    if students:
        assert agreement["box", "RepViT-M0.6"].mean() > 0.7
