# Functions that the rules share: the study, its jobs and keys, and input functions. No rule here.
import os

from xferpipe.config.load import StudyError, study_of_workflow
from xferpipe.devices import gpu_slots
from xferpipe.report import FIGURES
from xferpipe.rebuild.keys import Keys, matches, wildcards_of

try:
    STUDY = study_of_workflow(config, workflow.configfiles)
except StudyError as error:
    raise WorkflowError(str(error)) from None

KEYS = Keys(STUDY, Path(workflow.basedir) / "workflow" / "envs" / "xferpipe.yaml")
GPUS = 0 if STUDY.device == "cpu" else 1

# Post-deploy of a conda environment installs this repository, wherever Snakemake was started.
os.environ.update(XFERPIPE_ROOT=str(workflow.basedir))

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


def slice_of(stage):
    """Give the part of the study that a job reads, as sorted JSON."""
    return lambda wildcards: KEYS(stage, *wildcards).job


def code_of(stage):
    """Give the hash of the code that a job runs; the job checks it."""
    return lambda wildcards: KEYS(stage, *wildcards).code


def key_of(stage):
    """Give a job's cumulative key: its slice, code and environment, and the keys above it."""
    return lambda wildcards: KEYS(stage, *wildcards).key


def grown(amount):
    """Ask for more with each attempt, so that a job killed for memory or time gets through."""
    return lambda wildcards, attempt: amount * attempt


def dataset_root(dataset):
    """Return the generated folder of a data set; a user's own folder is in the job's slice."""
    return f"results/generate/{dataset}" if dataset in GENERATED else []


def dataset_inputs(dataset):
    """Return what reading a data set's images needs."""
    packed = STUDY.datasets[dataset].pack
    return {
        "manifest": f"results/manifest/{dataset}/manifest.parquet",
        "images": f"results/pack/{dataset}/images.npy" if packed else [],
        "root": dataset_root(dataset),
    }


def target_inputs(wildcards):
    """Return the images of a target and the weights of a zoo entry."""
    return {
        **dataset_inputs(STUDY.targets[wildcards.target].dataset),
        "weights": f"results/zoo/{wildcards.model}/weights.safetensors",
    }


def source_inputs(wildcards):
    """Return the images that a zoo entry is pretrained on and the weights it starts from."""
    entry = STUDY.zoo[wildcards.model]
    initial = (
        f"results/zoo/{entry.initial}/weights.safetensors" if entry.initial else []
    )
    return {**dataset_inputs(entry.source), "initial": initial}


def expert_inputs(wildcards):
    """Return the images of all sources of an expert, in their order, and what it starts from."""
    expert = STUDY.experts[wildcards.expert]
    sources = [dataset_inputs(source) for source in expert.sources]
    initial = (
        f"results/zoo/{expert.initial}/weights.safetensors" if expert.initial else []
    )
    return {
        "manifests": [source["manifest"] for source in sources],
        "images": [source["images"] for source in sources if source["images"]],
        "roots": [source["root"] for source in sources if source["root"]],
        "initial": initial,
    }


def score_inputs(wildcards):
    """Return what some scores need beside features: gradients, a network trained on the target."""
    place = "{w.target}/{w.shots}".format(w=wildcards)
    model = wildcards.model
    inputs = {}
    if STUDY.scores.needs_gradients:
        inputs["gradients"] = f"results/gradients/{place}/{model}/gradients.safetensors"
    if STUDY.scores.needs_reference:
        inputs["reference"] = f"results/reference/{place}/features.safetensors"
    return inputs


def reference_inputs(wildcards):
    """Return the images of a target and the weights of the small network trained on it."""
    run = STUDY.reference_run(wildcards.target, wildcards.shots)
    return {
        **dataset_inputs(STUDY.targets[wildcards.target].dataset),
        "weights": "results/finetune/{}/{}/{}/{}/seed{}/weights.safetensors".format(
            *run
        ),
    }


def retrieval_inputs(wildcards):
    """Return the images of a target and the weights of one of its fine-tunes."""
    run = "{w.target}/{w.shots}/{w.model}/{w.recipe}/seed{w.seed}".format(w=wildcards)
    return {
        **dataset_inputs(STUDY.targets[wildcards.target].dataset),
        "weights": f"results/finetune/{run}/weights.safetensors",
    }


def solution_inputs(wildcards):
    """Return a pretrained solution and the images it was trained on."""
    return {
        **dataset_inputs(STUDY.zoo[wildcards.model].source),
        "weights": f"results/zoo/{wildcards.model}/weights.safetensors",
    }


def finetuned_inputs(wildcards):
    """Return one fine-tune's weights and row, and the images of its target."""
    inputs = retrieval_inputs(wildcards)
    return {**inputs, "run": str(Path(inputs["weights"]).with_name("run.parquet"))}


def pair_inputs(wildcards):
    """Return two pretrained solutions and the images they were trained on."""
    return {
        **dataset_inputs(STUDY.zoo[wildcards.first].source),
        "first": f"results/zoo/{wildcards.first}/weights.safetensors",
        "second": f"results/zoo/{wildcards.second}/weights.safetensors",
    }


def minimiser_tables(file, *stages):
    """Return one file of every minimiser job of some stages; none where the study asks for none."""
    jobs = STUDY.minimiser_jobs()
    return [
        "results/{}/{}/{}".format(stage, minimiser_folder(stage, wildcards), file)
        for stage in stages
        for wildcards in jobs[stage]
    ]


def minimiser_folder(stage, wildcards):
    """Return the folder of a minimiser job below its stage; a seed is the last wildcard."""
    if stage in ("probe", "path"):
        return Path(*wildcards)
    return Path(*wildcards[:-1], f"seed{wildcards[-1]}")


def zoo_weights(file="weights.safetensors"):
    """Return one file of every zoo entry."""
    return [f"results/zoo/{model}/{file}" for model in STUDY.zoo]


def pretrain_epochs():
    """Return the epochs of every pretraining, experts included."""
    return [
        *(f"results/zoo/{model}/epochs.parquet" for model in PRETRAINED),
        *(f"results/expert/{expert}/epochs.parquet" for expert in STUDY.experts),
    ]


def score_tables(stage="scores", file="scores.parquet"):
    """Return one file of every (target, shots, model)."""
    return [
        f"results/{stage}/{target}/{shots}/{model}/{file}"
        for target, shots in STUDY.scored()
        for model in STUDY.zoo
    ]


def feature_correlation_tables():
    """Return the comparisons of features of the fine-tunes that take them."""
    return [
        "results/finetune/{}/{}/{}/{}/seed{}/feature_correlation.parquet".format(
            *wildcards_of(run)
        )
        for run in STUDY.finetune_ids()
        if STUDY.takes_features(run.target, run.shots, run.model, run.recipe, run.seed)
    ]


def finetune_tables(file, stage="finetune", task=None):
    """Return one file of every fine-tune, or of those on targets of one task."""
    return [
        "results/{}/{}/{}/{}/{}/seed{}/{}".format(stage, *wildcards_of(run), file)
        for run in STUDY.finetune_ids()
        if task is None or STUDY.targets[run.target].task == task
    ]
