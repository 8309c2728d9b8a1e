"""Multi-domain experts: one network trained on several sources, each a zoo entry afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from xferpipe.config.base import Block, Name
from xferpipe.config.zoo import ZooEntry


class Expert(Block):
    """One network trained on several sources; each source's domain is then a zoo entry."""

    mode: Literal["shared", "multi_bn", "adapter"] = Field(
        description="What a domain has of its own: its classifier; batch norms too; adapters too."
    )
    sources: tuple[Name, ...] = Field(min_length=2, description="Data sets it is trained on.")
    recipe: Name = Field(
        description="Pretraining recipe, for one process and without surgery, sampler, ra_reps, "
        "hyperrule, cache_features, model_ema, swa and rsgd."
    )
    initial: Name | None = Field(
        None, description="Zoo entry whose weights training starts from; unset: random."
    )
    images_per_domain: int = Field(
        100_000,
        ge=1,
        description="Images of each source in an epoch, with replacement where it has fewer.",
    )

    def models(self, name: str, zoo: Mapping[str, ZooEntry]) -> dict[str, str]:
        """Return source -> zoo entry of its domain."""
        return {
            entry.source: model
            for model, entry in zoo.items()
            if entry.weights == "expert" and entry.expert == name
        }

    def check(self, name: str, zoo: Mapping[str, ZooEntry]) -> None:
        """Check that every domain is one zoo entry, and all of one architecture.

        Raises:
            ValueError: A domain has no entry, or the entries differ.
        """
        models = self.models(name, zoo)
        if missing := [source for source in self.sources if source not in models]:
            raise ValueError(
                f"experts.{name}.sources: no zoo entry takes domain {missing[0]!r}; add one with "
                f"weights: expert, expert: {name}, source: {missing[0]}"
            )
        apart = {"source", "licence"}
        kinds = {
            str({key: value for key, value in zoo[model] if key not in apart})
            for model in models.values()
        }
        if len(kinds) > 1:
            raise ValueError(
                f"experts.{name}: its zoo entries {', '.join(models.values())} differ in more than "
                "their source; one network has one architecture and preprocessing"
            )
