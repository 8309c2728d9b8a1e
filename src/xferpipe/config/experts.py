"""Multi-domain experts: one network trained on several sources, each a zoo entry afterwards."""

from __future__ import annotations

from typing import ClassVar, Literal

from xferpipe.config.datasets import Dataset
from xferpipe.config.jobs import Job, ModelSpec
from xferpipe.config.recipes import Recipe


class ExpertJob(Job):
    """Train one expert on all its sources.

    `models` names the zoo entry that each source's domain becomes; `mode` is what domains have of
    their own: the classifier (`shared`), batch norms too (`multi_bn`), adapters too (`adapter`).
    """

    stage: ClassVar[str] = "expert"
    expert: str
    mode: Literal["shared", "multi_bn", "adapter"]
    spec: ModelSpec
    models: dict[str, str]
    datasets: dict[str, Dataset]
    images_per_domain: int
    recipe_name: str
    recipe: Recipe
    seed: int
    compute_threads: int
    device: Literal["auto", "cpu", "cuda"]
