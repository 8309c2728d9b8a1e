"""Let the tests of evidence import the simulated studies; tables that several of them read."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from study_tables import write_tables


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """Tables of a small finished study."""
    return write_tables(tmp_path)
