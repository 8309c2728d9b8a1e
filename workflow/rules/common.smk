# What the rules share: the study, its jobs and keys. No rule here.
import os

from xferpipe.config.load import StudyError
from xferpipe.devices import gpu_slots
from xferpipe.rebuild.keys import matches
from xferpipe.rebuild.rules import Rules
from xferpipe.rebuild.snapshot import PlanGoneError

try:
    RULES = Rules(workflow, config, ROOT)
except (StudyError, PlanGoneError) as error:
    raise WorkflowError(str(error)) from None

STUDY = RULES.study
GPUS = 0 if STUDY.device == "cpu" else 1

# Post-deploy of a conda environment installs this repository, wherever Snakemake was started.
os.environ.update(XFERPIPE_ROOT=str(ROOT))

# On this machine, as many jobs use a GPU at once as there are GPUs; without any, all may run.
if workflow.local_exec and "gpu" not in workflow.global_resources:
    if slots := gpu_slots():
        workflow.register_resource("gpu", len(slots))

PRETRAINED = [name for name, entry in STUDY.zoo.items() if entry.weights == "pretrain"]
DOMAINS = [name for name, entry in STUDY.zoo.items() if entry.weights == "expert"]
LOADED = [name for name in STUDY.zoo if name not in PRETRAINED + DOMAINS]
GENERATED = [
    name for name, block in STUDY.datasets.items() if getattr(block, "generate", None)
]


# Not the study's own names: Snakemake goes through a constraint's text for every path of every job,
# which with 1,600 models was a sixth of the time of a plan.
wildcard_constraints:
    dataset="[^/]+",
    target="[^/]+",
    shots=r"full|\d+",
    model="[^/]+",
    recipe="[^/]+",
    seed=r"\d+",


def grown(amount):
    """Ask for more with each attempt, so that a job killed for memory or time gets through."""

    def asked(wildcards, attempt):
        # What Snakemake asks for before it starts a job, in a module and without hooks too.
        RULES.write_plan()
        return amount * attempt

    return asked
