"""docs/first_steps.ipynb, as somebody runs it: in a kernel, cell by cell, and every cell once more."""

from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="notebooks are run with nbclient, nbformat and ipykernel")
nbclient = pytest.importorskip("nbclient", reason="notebooks are run with nbclient, nbformat and ipykernel")
pytest.importorskip("ipykernel", reason="notebooks are run with nbclient, nbformat and ipykernel")

NOTEBOOK = Path(__file__).parents[1] / "docs" / "first_steps.ipynb"
SMALL = {"channels=64": "channels=8", "epochs=5": "steps=2", "epochs=2": "steps=1"}


@pytest.fixture
def notebook():
    """The notebook, whose trainings take a step or two."""
    found = nbformat.read(NOTEBOOK, as_version=4)
    texts = "".join(cell.source for cell in found.cells)
    assert all(old in texts for old in SMALL)
    for cell in found.cells:
        for old, new in SMALL.items():
            cell.source = cell.source.replace(old, new)
    return found


def said(cell):
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


def test_the_notebook_is_kept_without_what_it_printed():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code and not [cell for cell in code if cell.outputs or cell.execution_count]


@pytest.mark.slow
def test_the_notebook_runs_and_shows_progress_in_plain_lines(notebook):
    notebook.cells += [nbformat.from_dict(cell) for cell in notebook.cells]  # a second time: nothing is in the way
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": "."}}).execute()
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for cell in code:
        assert "\x1b" not in said(cell) and "\r" not in said(cell)
    train, look, _, compare, load = code[: len(code) // 2]
    assert "step 2/2" in said(train) and "selected" in train.outputs[-1].data["text/plain"]
    assert [output.output_type for output in look.outputs].count("display_data") == 2
    assert "'averaging': " in compare.outputs[-1].data["text/plain"]
    assert said(load).startswith("predicted: ") and said(load).count("\n") == 2
