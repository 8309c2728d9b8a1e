"""Run `python -m benchmarks.gpu`."""

import sys

from .check import main

sys.exit(main())
