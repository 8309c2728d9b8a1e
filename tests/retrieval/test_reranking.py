"""Re-ranking against a dense transcription of the paper's own code."""

import numpy
import pytest
import torch

from xferpipe.config.retrieval import Retrieval
from xferpipe.retrieval import evaluate
from xferpipe.retrieval.labels import Labels
from xferpipe.retrieval.outcomes import outcomes


def reranked_by_hand(query, gallery, k1, k2, lambda_):
    """Zhong et al. (2017), line by line on dense float64 matrices: q x m distances."""
    features = numpy.concatenate([query, gallery])
    count = len(features)
    original = ((features[:, None] - features[None]) ** 2).sum(-1)
    original = original / original.max(axis=1, keepdims=True)
    ranks = numpy.argsort(original, axis=1, kind="stable")

    def reciprocal(i, k):
        forward = ranks[i, : k + 1]
        return forward[[i in ranks[j, : k + 1] for j in forward]]

    weights = numpy.zeros((count, count))
    for i in range(count):
        own = reciprocal(i, k1)
        expanded = own
        for candidate in own:
            theirs = reciprocal(candidate, round(k1 / 2))
            if len(numpy.intersect1d(theirs, own)) > 2 / 3 * len(theirs):
                expanded = numpy.append(expanded, theirs)
        expanded = numpy.unique(expanded)
        weight = numpy.exp(-original[i, expanded])
        weights[i, expanded] = weight / weight.sum()
    weights = numpy.stack([weights[ranks[i, :k2]].mean(axis=0) for i in range(count)])
    shared = numpy.minimum(weights[:, None], weights[None]).sum(-1)
    jaccard = 1 - shared / (2 - shared)
    final = (1 - lambda_) * jaccard + lambda_ * original
    return final[: len(query), len(query) :]


@pytest.fixture
def clusters():
    random = numpy.random.default_rng(0)
    identity = numpy.arange(12)
    centres = random.normal(size=(12, 6))
    gi = numpy.repeat(identity, 6)
    return {
        "query": (centres + 0.6 * random.normal(size=(12, 6))).astype(numpy.float32),
        "gallery": (centres[gi] + 0.6 * random.normal(size=(72, 6))).astype(numpy.float32),
        "query_identity": identity,
        "gallery_identity": gi,
    }


@pytest.mark.parametrize(("k1", "k2", "lambda_"), [(20, 6, 0.3), (8, 1, 0.3), (5, 3, 0.0)])
@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_reranked_lists_equal_the_dense_transcription(k1, k2, lambda_, offset, clusters):
    query, gallery = clusters["query"] + offset, clusters["gallery"] + offset
    labels = Labels.of(clusters["query_identity"], clusters["gallery_identity"])
    options = Retrieval(
        normalised=False, rerank_k1=k1, rerank_k2=k2, rerank_lambda=lambda_, ranked_list_length=72
    )
    (found,) = outcomes(query, gallery, labels, options, reranked=(True,), lists=True)
    # float32 features with an offset have lost digits already: compare with what is left of them.
    exact = reranked_by_hand(query.astype(float), gallery.astype(float), k1, k2, lambda_)
    expected = numpy.take_along_axis(exact, found.lists.gallery, axis=1)
    numpy.testing.assert_allclose(found.lists.distance, expected, atol=2e-5)
    numpy.testing.assert_allclose(found.lists.distance, numpy.sort(exact, axis=1), atol=2e-5)


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_evaluate_reranked_figures_are_those_of_the_transcription(distance, clusters):
    query, gallery = clusters["query"], clusters["gallery"]
    if distance == "cosine":
        query, gallery = (x / numpy.linalg.norm(x, axis=1, keepdims=True) for x in (query, gallery))
    distances = reranked_by_hand(query.astype(float), gallery.astype(float), 20, 6, 0.3)
    aps = []
    for identity, row in zip(clusters["query_identity"], distances, strict=True):
        matches = clusters["gallery_identity"][numpy.argsort(row, kind="stable")] == identity
        places = numpy.flatnonzero(matches) + 1
        aps.append((numpy.arange(1, len(places) + 1) / places).mean())
    found = evaluate(**clusters, distance=distance, rerank=True)
    assert found["map"] == pytest.approx(numpy.mean(aps), abs=1e-3)
    assert found["reranked"]
    assert found["map"] > evaluate(**clusters, distance=distance)["map"]


def test_outcomes_with_and_without_share_the_query_rows(clusters):
    labels = Labels.of(clusters["query_identity"], clusters["gallery_identity"])
    options = Retrieval(normalised=False, rerank=True)
    features = (torch.from_numpy(clusters["query"]), torch.from_numpy(clusters["gallery"]))
    plain, again = outcomes(*features, labels, options, reranked=(False, True), lists=True)
    assert (plain.reranked, again.reranked) == (False, True)
    assert (plain.figures.positives == again.figures.positives).all()
    assert not numpy.array_equal(plain.lists.gallery, again.lists.gallery)


def test_evaluate_reranking_few_images_says_what_k1_may_be():
    with pytest.raises(ValueError, match=r"rerank_k1 may be 1 \.\. 5"):
        evaluate(numpy.eye(2), numpy.ones((4, 2)), [0, 1], [0, 0, 1, 1], rerank=True)


def test_retrieval_block_refuses_more_averaged_than_there_are_neighbours():
    with pytest.raises(ValueError, match=r"rerank_k2 \(9\) must be at most"):
        Retrieval(rerank_k1=5, rerank_k2=9)


def test_retrieval_stage_writes_rows_with_and_without(run):
    import polars

    paths = run(rerank=True, rerank_k1=10)
    rows = polars.read_parquet(paths["retrieval"])
    assert rows["reranked"].to_list() == [False, True]
    assert rows["map"].null_count() == 0
    asked = polars.read_parquet(paths["queries"])
    assert dict(asked.group_by("reranked").len().iter_rows()) == {False: 15, True: 15}
    plain = polars.read_parquet(run()["retrieval"])
    assert plain["map"][0] == rows["map"][0]
