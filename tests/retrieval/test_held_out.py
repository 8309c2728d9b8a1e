"""mAP of held-out identities, against a ranking that is written out here."""

from __future__ import annotations

import logging
import math

import numpy
import polars
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.retrieval.by_hand import ap_by_hand

from xferpipe.config.retrieval import Retrieval
from xferpipe.retrieval import held_out
from xferpipe.retrieval.held_out import HeldOut


def images_of(identities, cameras=None, sequences=None) -> polars.DataFrame:
    size = len(identities)
    return polars.DataFrame(
        {
            "row": range(100, 100 + size),
            "identity": identities,
            "camera": [None] * size if cameras is None else cameras,
            "sequence": [None] * size if sequences is None else sequences,
        },
        schema_overrides=dict.fromkeys(("row", "identity", "camera", "sequence"), polars.Int64),
    )


def judged(images, features, **options):
    """Judge features that no model needs to compute."""
    found = HeldOut(images, Retrieval(**options), where="cars")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(held_out, "embed", lambda model, split: (features, None))
        return found, found(None, None)


@settings(max_examples=40)
@given(st.data())
def test_held_out_average_precision_equals_a_ranking_by_hand(data):
    identities = data.draw(
        st.lists(st.integers(1, 4), min_size=4, max_size=14).filter(
            lambda some: min(numpy.unique(some, return_counts=True)[1]) > 1 and len(set(some)) > 1
        )
    )
    size = len(identities)
    camera = st.none() | st.integers(0, 2)
    cameras = data.draw(st.lists(camera, min_size=size, max_size=size))
    rule = data.draw(st.sampled_from(["same_camera", "same_sequence", "index_lists", "none"]))
    kind = data.draw(st.sampled_from(["step", "trapezoid"]))
    features = torch.from_numpy(
        numpy.random.default_rng(data.draw(st.integers(0, 999))).normal(size=(size, 3))
    ).float()
    column = "sequences" if rule == "same_sequence" else "cameras"
    judge, found = judged(
        images_of(identities, **{column: cameras}),
        features,
        junk_rule=rule,
        ap_kind=kind,
        normalised=False,
    )
    used = cameras if judge.junk_rule != "none" else [None] * size
    expected = ap_by_hand(features.double().numpy(), identities, used, kind=kind)
    if rule != "none" and judge.junk_rule == "none":
        strict = ap_by_hand(features.double().numpy(), identities, cameras)
        assert all(one is None for one in strict) or all(one is None for one in cameras)
    assert [None if math.isnan(ap) else ap for ap in found.ap.tolist()] == [
        None if ap is None else pytest.approx(ap) for ap in expected
    ]
    assert found.map == pytest.approx(numpy.mean([ap for ap in expected if ap is not None]))
    rows = judge.queries(found)
    assert [line["ap"] is None for line in rows] == [line["positives"] == 0 for line in rows]
    assert [line["row"] for line in rows] == list(range(100, 100 + size))


def test_held_out_image_never_finds_itself():
    """All images are one point, so that each would be its own first hit."""
    images = images_of([1, 2, 1, 2])
    _, found = judged(images, torch.ones(4, 2), junk_rule="none")
    # Ties go to the earlier image: others of image 0 are 1, 2, 3, of which 2 is right.
    assert found.ap.tolist() == pytest.approx([1 / 2, 1 / 3, 1, 1 / 2])


def test_held_out_identity_of_one_camera_has_no_figure_and_is_counted(caplog):
    images = images_of([1, 1, 2, 2], cameras=[0, 0, 0, 1])
    features = torch.tensor([[0.0, 1], [0, 1], [1, 0], [1, 0]])
    with caplog.at_level(logging.INFO):
        judge, found = judged(images, features)
    assert "2 of 4 held-out images have no other to find" in caplog.text
    assert [line["ap"] for line in judge.queries(found)] == [None, None, 1.0, 1.0]
    assert {line["junk_rule"] for line in judge.queries(found)} == {"same_camera"}
    assert found.map == 1.0


@pytest.mark.parametrize("cameras", [None, [3, 3, 3, 3]])
def test_held_out_without_any_positive_falls_back_to_no_rule_and_says_so(caplog, cameras):
    images = images_of([1, 1, 2, 2], cameras=cameras)
    features = torch.tensor([[0.0, 1], [0, 1], [1, 0], [1, 0]])
    with caplog.at_level(logging.WARNING):
        judge, found = judged(images, features)
    assert "mAP of validation is without a junk rule" in caplog.text
    assert judge.junk_rule == "none"
    assert found.map == 1.0
    assert {line["junk_rule"] for line in judge.queries(found)} == {"none"}


def test_held_out_features_that_are_not_finite_give_no_figure():
    features = torch.tensor([[0.0, 1], [math.nan, 1], [1, 0], [1, 0]])
    judge, found = judged(images_of([1, 1, 2, 2]), features)
    assert math.isnan(found.map)
    assert {line["ap"] for line in judge.queries(found)} == {None}
