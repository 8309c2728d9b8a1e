"""Licences are told in full, and in the open where one stands in the way."""

from __future__ import annotations

import pytest

from xferpipe.records import frame, result_files, write_table
from xferpipe.report.evidence import load
from xferpipe.report.licences import licences_of


@pytest.mark.parametrize(
    ("card", "images", "caution"),
    [
        ({"weights": "timm", "licence": "Apache-2.0"}, None, ""),
        ({"weights": "random"}, "CC0-1.0", ""),
        ({"weights": "pretrain", "source": "letters"}, "CC BY 4.0", ""),
        ({"weights": "file"}, None, "that of the weights is unknown"),
        ({"weights": "timm", "licence": "CC-BY-NC-4.0"}, None, "that of the weights, CC-BY-NC-4.0"),
        (
            {"weights": "pretrain", "source": "s", "source_licence": "non-commercial research"},
            None,
            "that of their source's images, non-commercial research",
        ),
        ({"weights": "random"}, "CC BY-NC-SA 4.0", "that of this target's images, CC BY-NC-SA 4.0"),
        ({"weights": "timm", "licence": "apple-amlr"}, None, "that of the weights, apple-amlr"),
        ({"weights": "timm", "licence": "seer-license"}, None, "that of the weights, seer-license"),
        (
            {"weights": "torchvision", "licence": "https://x.org/facebookresearch/SWAG/LICENSE"},
            None,
            "that of the weights",
        ),
        ({"weights": "file", "licence": "https://x.org/facebookresearch/mit"}, None, ""),
        # Letters of other words say nothing: not every NC is that of Creative Commons.
        ({"weights": "timm", "licence": "INCLUDED-1.0"}, None, ""),
    ],
)
def test_licence_that_restricts_or_is_unknown_is_a_caution(job, tmp_path, card, images, caution):
    write_table("zoo", frame("zoo", [{"model": "m"} | card]), tmp_path / "zoo.parquet")
    target = {"target": "t", "licence": images}
    write_table("targets", frame("targets", [target]), tmp_path / "targets.parquet")
    found = licences_of(load(job, result_files(tmp_path)), "t", "m")
    assert caution in found.caution
    assert bool(caution) == bool(found.caution)
    assert f"of this target's images: {images or 'not stated'}." in found.sentence
