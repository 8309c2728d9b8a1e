"""Re-identification retrieval: how query and gallery are compared."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from xferpipe.config.base import GrownBlock, Name

#: Recipe of the runs of `evaluate`, and what it says.
AS_IS, AS_IS_RECIPE = "as_is", {"epochs": 0}


class Retrieval(GrownBlock):
    """One way to evaluate retrieval; every option is stored beside the figures."""

    later: ClassVar[tuple[str, ...]] = ("leave_self_out", "keep_features", "evaluate")

    distance: Literal["euclidean", "cosine"] = Field(
        "euclidean", description="Distance between features (squared Euclidean inside)."
    )
    normalised: bool = Field(True, description="Scale features to unit length first.")
    ap_kind: Literal["step", "trapezoid"] = Field(
        "step", description="Average precision: the field's usual, or VeRi-776's own script."
    )
    junk_rule: Literal["same_camera", "same_sequence", "index_lists", "none"] = Field(
        "same_camera",
        description="Which gallery images of the query's identity are left out: those of its "
        "camera, of its sequence, those that VeRi-776's files list, or none.",
    )
    leave_self_out: bool = Field(
        False,
        description="Leave a query's own copy out of what it finds: the same file, or another of "
        "the same content; without, such a copy that the junk rule leaves is an error.",
    )
    query_expansion: int = Field(
        0, ge=0, description="Nearest gallery images averaged into each query first; 0: none."
    )
    rerank: bool = Field(
        False, description="Re-rank by k-reciprocal neighbours too: rows with and without it."
    )
    rerank_k1: int = Field(20, ge=1, description="Neighbours that must be reciprocal.")
    rerank_k2: int = Field(6, ge=1, description="Neighbours whose sets are averaged.")
    rerank_lambda: float = Field(
        0.3, ge=0, le=1, description="Weight of the original distance beside the neighbours'."
    )
    ranked_list_length: int = Field(10, ge=1, description="Gallery images listed for a query.")
    example_queries: int = Field(
        3, ge=0, description="Worst, median and best queries to show, this many of each."
    )
    keep_features: bool = Field(
        False,
        description="Keep the features of query and gallery of every run, as files that "
        "`xferpipe retrieve` reads.",
    )
    evaluate: tuple[Name, ...] | Literal["all"] = Field(
        (),
        description="Zoo entries, or `all`, that rank query and gallery of every retrieval target "
        "as they are, without training: runs of recipe `as_is`, which has epochs: 0.",
    )

    def asked_of_one_run(self) -> Retrieval:
        """Return what a ranking computes with: which other runs there are is nothing to it."""
        return self.model_copy(update={"evaluate": ()})

    def plain(self) -> Retrieval:
        """Return what decides mAP of the plain ranking; all else has its defaults."""
        taken = ("distance", "normalised", "ap_kind", "junk_rule")
        return Retrieval(**{name: getattr(self, name) for name in taken})

    @model_validator(mode="after")
    def _neighbours_fit(self) -> Retrieval:
        if self.rerank_k2 > self.rerank_k1 + 1:
            raise ValueError(
                f"rerank_k2 ({self.rerank_k2}) must be at most rerank_k1 + 1 ({self.rerank_k1 + 1})"
            )
        return self
