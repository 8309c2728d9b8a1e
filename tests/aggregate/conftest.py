"""Let the tests of aggregation import their shared rows."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
