"""Jobs: the resolved slice of a study that one job may read, and nothing else.

A slice is part of a job's key, so a value belongs in it exactly when it can
change the job's output. Texts such as licences stay out; so do names of things that a job does
not write.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from xferpipe.config.base import Block, GrownBlock
from xferpipe.config.datasets import Dataset
from xferpipe.config.known_models import preprocessing
from xferpipe.config.minimisers import InputProbes, LocalEnergy, Paths, Sample
from xferpipe.config.race import Race
from xferpipe.config.recipes import Recipe
from xferpipe.config.report import FeaturesTaken, Report
from xferpipe.config.retrieval import Retrieval
from xferpipe.config.scores import Gradients, Probe, Scores
from xferpipe.config.stand_ins import StandIns
from xferpipe.config.study import Selection, Shots, Target
from xferpipe.config.zoo import ZooEntry


class ModelSpec(GrownBlock):
    """How a model is built and fed, whatever its weights."""

    later: ClassVar[tuple[str, ...]] = ("crop_pct", "interpolation")

    architecture: str
    width: int
    norm: Literal["batch", "group", "group_ws"] = "batch"
    block_order: Literal[
        "original", "norm_after_addition", "relu_before_addition", "preactivation"
    ] = "original"
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    image_px: int | None = None
    crop_pct: float = 1.0
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"

    @classmethod
    def of(cls, entry: ZooEntry) -> ModelSpec:
        """Take the building part of a zoo entry; what it leaves open its configuration says."""
        built = {name: getattr(entry, name) for name in cls.model_fields}
        return cls(**built | preprocessing(entry))

    @property
    def resize_px(self) -> int | None:
        """Side that images are resized to before `image_px` is cut out of their middle."""
        # As timm rounds it.
        return None if self.image_px is None else int(self.image_px / self.crop_pct)


class Job(Block):
    """What one job may know of the study."""


class ComputingJob(Job):
    """A slice of a job that runs a model: threads and device are part of its result."""

    compute_threads: int
    device: Literal["auto", "cpu", "cuda"]


class SourceJob(ComputingJob):
    """A slice of a job on the images of a pretraining's source, as its recipe feeds them."""

    source: str
    spec: ModelSpec
    dataset: Dataset
    recipe: Recipe
    seed: int


class TargetJob(ComputingJob):
    """A slice of a job that runs one model on a target's images."""

    target_name: str
    dataset: Dataset
    model: str
    spec: ModelSpec


class TuningJob(TargetJob):
    """A slice of a job that fine-tunes, or that runs what was fine-tuned; `seed` is the run's."""

    recipe_name: str
    recipe: Recipe
    study_seed: int
    seed: int


class GenerateJob(Job):
    """Write a generated re-identification set in its layout."""

    dataset: Dataset
    seed: int


class Ranked(Block):
    """What a retrieval target asks of its images, for checks before anything is trained.

    No part of a slice: it decides whether a job refuses its images, and never what it writes.
    """

    junk_rule: Literal["same_camera", "same_sequence", "index_lists", "none"]
    leave_self_out: bool = False
    trained: bool = True


class ManifestJob(Job):
    """List a data set: one row an image, checked; `ranked` where a retrieval target uses it."""

    name: str
    dataset: Dataset
    seed: int
    ranked: Ranked | None = Field(None, exclude=True)


class PackJob(Job):
    """Decode a data set's images once."""

    dataset: Dataset
    seed: int


class PretrainJob(SourceJob):
    """Train one zoo entry on its source."""

    model: str
    recipe_name: str


class CostJob(ComputingJob):
    """Measure what one image of a side costs a zoo entry."""

    model: str
    spec: ModelSpec
    image_px: int


class ExpertJob(ComputingJob):
    """Train one expert on all its sources.

    `models` names the zoo entry that each source's domain becomes; `mode` is what domains have of
    their own: the classifier (`shared`), batch norms too (`multi_bn`), adapters too (`adapter`).
    """

    expert: str
    mode: Literal["shared", "multi_bn", "adapter"]
    spec: ModelSpec
    models: dict[str, str]
    datasets: dict[str, Dataset]
    images_per_domain: int
    recipe_name: str
    recipe: Recipe
    seed: int


class DomainJob(Job):
    """Take one domain of a multi-domain expert as a zoo entry."""

    expert: str
    source: str


class LoadWeightsJob(Job, GrownBlock):
    """Bring one zoo entry's weights from where they lie (or draw them)."""

    later: ClassVar[tuple[str, ...]] = ("source_accuracy",)

    model: str
    spec: ModelSpec
    weights: Literal["random", "torchvision", "timm", "file", "package"]
    name: str | None
    order: bool
    ema: bool | None
    rename: tuple[tuple[str, str], ...]
    source_accuracy: float | None = None
    seed: int

    def places(self) -> frozenset[str]:
        """Count the path of a file as a place; other names say which weights are meant."""
        return super().places() | ({"name"} if self.weights == "file" else set())


class FeaturesJob(TargetJob):
    """Pass the probe images of a target through one model."""

    target: Target
    shots: Shots
    probe: Probe
    seed: int


class GradientsJob(FeaturesJob):
    """Take per-image gradients, and features of further layers, of a target's probe images."""

    gradients: Gradients
    layers: tuple[str, ...]


class ReferenceJob(FeaturesJob):
    """Pass the probe images through a small network fine-tuned on the target, for RSA."""

    recipe: Recipe


class ScoresJob(Job):
    """Compute every score of one (target, shots, model) from cached features."""

    target: str
    shots: Shots
    model: str
    scores: Scores
    seed: int
    compute_threads: int


class ChooseJob(Job):
    """Choose the runs of a race's next round, or end the race; `race` has its names filled in."""

    target: str
    shots: Shots
    round: int
    race: Race
    seed: int


class FinetuneJob(TuningJob):
    """Fine-tune one model on one target with one recipe and seed, and evaluate it.

    `ranking` says how held-out identities of a retrieval target are ranked.
    """

    target: Target
    shots: Shots
    ranking: Retrieval | None = None
    ranked: Ranked | None = Field(None, exclude=True)
    features_taken: FeaturesTaken | None = None


class RetrievalJob(TuningJob):
    """Embed query and gallery with one fine-tuned model and rank."""

    shots: Shots
    retrieval: Retrieval


class ProbeJob(SourceJob):
    """Perturb one pretrained solution and its source's images."""

    model: str
    sample: Sample
    inputs: InputProbes
    energy: LocalEnergy
    confidence: float


class ProbeFinetunedJob(TuningJob):
    """Perturb the test images of one fine-tuned model."""

    shots: Shots
    sample: Sample
    inputs: InputProbes
    confidence: float


class PathJob(SourceJob):
    """Measure the distance and the ways between two pretrained solutions."""

    first: str
    second: str
    sample: Sample
    paths: Paths


class ContinualJob(TuningJob):
    """Fine-tune one model on a target part by part."""

    target: Target
    parts: int
    part_by: Literal["classes", "images"]


class ExportJob(Job):
    """Hand over the model that the answer picks for a target, as a folder of its own.

    `architectures` are those of the study's models: any of them may be picked.
    """

    target: str
    shots: Shots
    architectures: tuple[str, ...]


class ExportOnnxJob(Job):
    """Write an exported model as ONNX."""

    architectures: tuple[str, ...]


class AggregateJob(Job):
    """Gather all rows into the result tables and judge the scores."""

    study: str
    selection: Selection
    licences: dict[str, str | None]
    source_licences: dict[str, str | None]
    targets: dict[str, Target]
    target_licences: dict[str, str | None]
    seed: int
    #: Recipes of the study, and its races by (target, shots).
    recipes: tuple[str, ...] = ()
    races: tuple[Race, ...] = ()


class ReportJob(Job):
    """Draw the report page from the tables.

    What the page says of the images and of how models were trained: `targets`, `datasets` (of the
    targets), `recipes` (of fine-tunes) and `seed`; `exported` are the targets, with their shots,
    whose models the study exports.
    """

    study: str
    selection: Selection
    report: Report = Report()
    stand_ins: StandIns = StandIns()
    targets: dict[str, Target] = Field(default_factory=dict)
    datasets: dict[str, Dataset] = Field(default_factory=dict)
    recipes: dict[str, Recipe] = Field(default_factory=dict)
    exported: tuple[tuple[str, str], ...] = ()
    seed: int = 0
