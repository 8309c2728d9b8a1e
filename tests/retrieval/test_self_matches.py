"""Queries that are in the gallery too."""

from __future__ import annotations

import numpy
import pytest
import torch

from xferpipe.config.retrieval import Retrieval
from xferpipe.retrieval.labels import Labels
from xferpipe.retrieval.outcomes import outcomes
from xferpipe.retrieval.own_images import without
from xferpipe.retrieval.self_matches import refuse, self_matches


def pairs_of(query, gallery, asked, answered, *, cameras=None, **options):
    labels = Labels.of(asked, answered, *(cameras or ()))
    found = self_matches(torch.tensor(query), torch.tensor(gallery), labels, **options)
    return list(zip(*(side.tolist() for side in found), strict=True))


UNIT = [[1.0, 0.0], [0.0, 1.0]]


def test_features_of_the_same_bits_are_a_self_match():
    assert pairs_of(UNIT, [[0.0, 1.0], [1.0, 0.0]], [1, 2], [2, 1]) == [(0, 1), (1, 0)]
    assert pairs_of(UNIT, [[0.0, 1.0], [1.0, 0.0]], [1, 2], [1, 2]) == []  # Of another identity.


def test_model_that_gives_all_images_one_feature_proves_nothing():
    flat = [[0.5, 0.5]] * 2
    assert pairs_of(flat, flat, [1, 2], [1, 2]) == []
    assert pairs_of(flat, flat, [1, 2], [1, 2], same_pixels=lambda *_: True) == [(0, 0), (1, 1)]


def test_near_features_are_one_picture_where_the_pixels_are():
    near = [[1.0, 1e-6], [0.0, 1.0]]
    asked = []

    def same_pixels(query, gallery):
        asked.append((query, gallery))
        return query == 0

    assert pairs_of(UNIT, near[:1], [1, 2], [1], same_pixels=same_pixels) == [(0, 0)]
    assert asked == [(0, 0)]
    assert pairs_of(UNIT, near[:1], [1, 2], [1]) == []


def test_one_path_is_a_self_match_whatever_the_features():
    paths = {"query_paths": ["a.jpg", None], "gallery_paths": ["a.jpg", None]}
    assert pairs_of(UNIT, UNIT[::-1], [1, 2], [1, 2], **paths) == [(0, 0)]


def test_junk_is_no_self_match():
    assert pairs_of(UNIT, UNIT, [1, 2], [1, 2], cameras=([7, 7], [7, 8])) == [(1, 1)]


def test_refusal_names_queries_and_the_option():
    refuse((numpy.array([], int), numpy.array([], int)), ["a"], "none")
    with pytest.raises(ValueError, match=r"2 queries .* b.jpg, query 2; .*leave_self_out: true"):
        refuse((numpy.array([1, 2]), numpy.array([0, 0])), ["a", "b.jpg", None], "none")


def test_one_file_as_both_sides_is_ranked_without_itself_by_hand():
    noise = numpy.random.default_rng(0)
    identity = numpy.repeat(numpy.arange(8), 4)
    features = (noise.normal(size=(8, 6))[identity] + noise.normal(size=(32, 6))).astype("f4")
    labels = Labels.of(identity, identity)
    tensor = torch.from_numpy(features)
    pairs = self_matches(tensor, tensor, labels)
    assert pairs[0].tolist() == pairs[1].tolist() == list(range(32))
    options = Retrieval(normalised=False)
    found = outcomes(tensor, tensor, without(labels, *pairs), options, reranked=(False,))
    first, precision = [], []
    for at, own in enumerate(features.astype(float)):
        others = numpy.delete(numpy.arange(32), at)
        order = others[((features[others] - own) ** 2).sum(1).argsort(kind="stable")]
        hits = numpy.flatnonzero(identity[order] == identity[at])
        first.append(hits[0] == 0)
        precision.append(((numpy.arange(3) + 1) / (hits + 1)).mean())
    means = found[0].figures.means()
    assert means["rank1"] == pytest.approx(numpy.mean(first))
    assert means["map"] == pytest.approx(numpy.mean(precision))
    assert means["rank1"] < 1
