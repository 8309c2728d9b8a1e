"""The typed study: what a person may write in `config.yaml`, and what one job reads of it.

`study.py` holds the whole file, `load.py` reads it, `checks.py` says what its blocks must agree on,
`jobs.py` the resolved slices handed to single jobs; the other modules hold the blocks of the file.
Nothing here imports torch: Snakemake parses with this alone.
"""

from xferpipe.config.jobs import (
    AggregateJob,
    ContinualJob,
    DomainJob,
    ExpertJob,
    FeaturesJob,
    FinetuneJob,
    GenerateJob,
    GradientsJob,
    LoadWeightsJob,
    ManifestJob,
    PackJob,
    PathJob,
    PretrainJob,
    ProbeFinetunedJob,
    ProbeJob,
    ReferenceJob,
    ReportJob,
    RetrievalJob,
    ScoresJob,
)
from xferpipe.config.load import StudyError, load_study
from xferpipe.config.study import Study

__all__ = [
    "AggregateJob",
    "ContinualJob",
    "DomainJob",
    "ExpertJob",
    "FeaturesJob",
    "FinetuneJob",
    "GenerateJob",
    "GradientsJob",
    "LoadWeightsJob",
    "ManifestJob",
    "PackJob",
    "PathJob",
    "PretrainJob",
    "ProbeFinetunedJob",
    "ProbeJob",
    "ReferenceJob",
    "ReportJob",
    "RetrievalJob",
    "ScoresJob",
    "Study",
    "StudyError",
    "load_study",
]
