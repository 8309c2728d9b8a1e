# What the rules share: the study, its jobs and keys. No rule here.
import os

from xferpipe.config.load import StudyError
from xferpipe.devices import gpu_slots
from xferpipe.graph.rules import Rules
from xferpipe.graph.snapshot import PlanGoneError

try:
    RULES = Rules(workflow, config, ROOT)
except (StudyError, PlanGoneError) as error:
    raise WorkflowError(str(error)) from None

# Post-deploy of a conda environment installs this repository, wherever Snakemake was started.
os.environ.update(XFERPIPE_ROOT=str(ROOT))

# On this machine, as many jobs use a GPU at once as there are GPUs; without any, all may run.
if workflow.local_exec and "gpu" not in workflow.global_resources:
    if slots := gpu_slots():
        workflow.register_resource("gpu", len(slots))


# Not the study's own names: Snakemake goes through a constraint's text for every path of every job,
# which with 1,600 models was a sixth of the time of a plan.
wildcard_constraints:
    dataset="[^/]+",
    target="[^/]+",
    shots=r"full|\d+",
    model="[^/]+",
    recipe="[^/]+",
    seed=r"\d+",
    round=r"\d+",
