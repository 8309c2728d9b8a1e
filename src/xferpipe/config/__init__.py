"""The typed study: what a person may write in `config.yaml`, and what one job reads of it.

`study.py` holds the whole file, `load.py` reads it, `checks.py` says what its blocks must agree on,
`jobs.py` the resolved slices handed to single jobs; the other modules hold the blocks of the file.
Nothing here imports torch: Snakemake parses with this alone.
"""

from xferpipe.config.load import StudyError, load_study
from xferpipe.config.study import Study

__all__ = [
    "Study",
    "StudyError",
    "load_study",
]
