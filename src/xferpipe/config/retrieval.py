"""Re-identification retrieval: how query and gallery are compared."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from xferpipe.config.base import Block


class Retrieval(Block):
    """One way to evaluate retrieval; every option is stored beside the figures."""

    distance: Literal["euclidean", "cosine"] = Field(
        "euclidean", description="Distance between features (squared Euclidean inside)."
    )
    normalised: bool = Field(True, description="Scale features to unit length first.")
    ap_kind: Literal["step", "trapezoid"] = Field(
        "step", description="Average precision: the field's usual, or VeRi-776's own script."
    )
    junk_rule: Literal["same_camera", "index_lists", "none"] = Field(
        "same_camera", description="Which gallery images of the query's identity are left out."
    )
    rerank: bool = Field(False, description="k-reciprocal re-ranking (k1=20, k2=6, lambda 0.3).")
    ranked_list_length: int = Field(10, ge=1, description="Gallery images listed for a query.")
