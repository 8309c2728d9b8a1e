"""Figures against direct transcriptions of the published protocols, on small random cases.

Features are small whole numbers, so that float32 distances are exact and ties are true ties.
"""

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xferpipe.retrieval import evaluate

RANKS = (1, 5, 10, 20)


def order_of(distances):
    """Gallery by (distance, index)."""
    return sorted(range(len(distances)), key=lambda j: (distances[j], j))


def market_query(order, good, junk):
    """Market-1501: drop junk, CMC, and AP as the mean precision at the hits; INP of Ye et al."""
    kept = [j for j in order if j not in junk]
    matches = [j in good for j in kept]
    if not any(matches):
        return None
    hits, precisions = 0, []
    for place, match in enumerate(matches, start=1):
        if match:
            hits += 1
            precisions.append(hits / place)
    last = max(place for place, match in enumerate(matches, start=1) if match)
    cmc = {k: float(any(matches[:k])) for k in RANKS}
    return cmc, sum(precisions) / hits, hits / last


def veri_ap(order, good, junk):
    """VeRi-776's own script, step by step: recall and precision after each non-junk image."""
    old_recall, old_precision, ap, hits, seen = 0.0, 1.0, 0.0, 0, 0
    for j in order:
        if j in junk:
            continue
        hits += j in good
        recall, precision = hits / len(good), hits / (seen + 1)
        ap += (recall - old_recall) * (old_precision + precision) / 2
        old_recall, old_precision, seen = recall, precision, seen + 1
        if hits == len(good):
            break
    return ap


def transcribed(distances, good, junk, ap_kind):
    """The means over queries that have a positive."""
    rows = []
    for i, row in enumerate(distances):
        order = order_of(row)
        found = market_query(order, good[i], junk[i])
        if found is not None:
            cmc, ap, inp = found
            rows.append(
                (cmc, veri_ap(order, good[i], junk[i]) if ap_kind == "trapezoid" else ap, inp)
            )
    if not rows:
        return None
    mean = {f"rank{k}": sum(cmc[k] for cmc, _, _ in rows) / len(rows) for k in RANKS}
    mean["map"] = sum(ap for _, ap, _ in rows) / len(rows)
    mean["minp"] = sum(inp for _, _, inp in rows) / len(rows)
    mean["queries"] = len(rows)
    mean["queries_without_positive"] = len(distances) - len(rows)
    return mean


def squared(query, gallery):
    return ((query[:, None, :] - gallery[None, :, :]) ** 2).sum(-1)


def good_and_junk(case, rule):
    good, junk = [], []
    for identity, camera in zip(case["qi"], case["qc"]):
        same = {j for j, other in enumerate(case["gi"]) if other == identity}
        own = {j for j in same if rule == "same_camera" and case["gc"][j] == camera}
        good.append(same - own)
        junk.append(own)
    return good, junk


@st.composite
def cases(draw):
    """Few images, identities and cameras: ties, junk only, no positive, m below every rank."""
    q, m, d = draw(st.integers(1, 5)), draw(st.integers(1, 26)), draw(st.integers(1, 3))
    identities, cameras = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    random = numpy.random.default_rng(draw(st.integers(0, 2**32)))
    span = draw(st.sampled_from([1, 2, 50]))  # span 1 makes nearly everything a tie
    return {
        "query": random.integers(-span, span + 1, (q, d)).astype(numpy.float32),
        "gallery": random.integers(-span, span + 1, (m, d)).astype(numpy.float32),
        "qi": random.integers(0, identities, q),
        "gi": random.integers(0, identities + 1, m),
        "qc": random.integers(0, cameras, q),
        "gc": random.integers(0, cameras, m),
    }


def assert_same(found, expected):
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-12), name


@pytest.mark.parametrize("ap_kind", ["step", "trapezoid"])
@pytest.mark.parametrize("junk_rule", ["same_camera", "none"])
@settings(max_examples=150, deadline=None)
@given(case=cases())
def test_evaluate_small_cases_equal_the_transcription(ap_kind, junk_rule, case):
    good, junk = good_and_junk(case, junk_rule)
    expected = transcribed(squared(case["query"], case["gallery"]), good, junk, ap_kind)
    arguments = (case["query"], case["gallery"], case["qi"], case["gi"], case["qc"], case["gc"])
    if expected is None:
        with pytest.raises(ValueError, match="has a positive"):
            evaluate(*arguments, ap_kind=ap_kind, junk_rule=junk_rule, leave_self_out=False)
        return
    found = evaluate(*arguments, ap_kind=ap_kind, junk_rule=junk_rule, leave_self_out=False)
    assert_same(found, expected)


@settings(max_examples=100, deadline=None)
@given(case=cases(), lost=st.randoms(use_true_random=False))
def test_evaluate_index_lists_equal_the_transcription(case, lost):
    """Lists need not agree with identities: each image is a hit, junk or neither, as listed."""
    kinds = [[lost.choice("hjn") for _ in case["gi"]] for _ in case["qi"]]
    good = [{j for j, kind in enumerate(row) if kind == "h"} for row in kinds]
    junk = [{j for j, kind in enumerate(row) if kind == "j"} for row in kinds]
    expected = transcribed(squared(case["query"], case["gallery"]), good, junk, "step")
    if expected is None:
        return
    found = evaluate(
        case["query"],
        case["gallery"],
        case["qi"],
        case["gi"],
        junk_rule="index_lists",
        positives=[sorted(rows) for rows in good],
        junk=[sorted(rows) for rows in junk],
        leave_self_out=False,
    )
    assert_same(found, expected)


@settings(max_examples=100, deadline=None)
@given(case=cases(), seed=st.integers(0, 2**32))
def test_evaluate_cosine_equals_the_transcription(case, seed):
    """Directions are drawn apart, so that rounding decides no order; lengths play no part."""
    random = numpy.random.default_rng(seed)
    angles = random.permutation(64)[: len(case["gi"])] * (numpy.pi / 64)
    gallery = numpy.stack([numpy.cos(angles), numpy.sin(angles)], 1)
    query = numpy.stack([numpy.ones(len(case["qi"])), numpy.zeros(len(case["qi"]))], 1)
    good, junk = good_and_junk(case, "none")
    expected = transcribed(1 - query @ gallery.T, good, junk, "step")
    if expected is None:
        return
    scale = random.uniform(0.1, 10, (len(gallery), 1))
    labels, kept = (case["qi"], case["gi"]), {"leave_self_out": False}
    for options in ({"distance": "cosine"}, {"normalised": True}):
        assert_same(evaluate(query, gallery * scale, *labels, **kept, **options), expected)


@pytest.mark.parametrize("offset", [1e3, 1e5, 1e7])
@pytest.mark.parametrize("kind", ["tensor", "array", "map"])
def test_evaluate_features_with_a_large_mean_rank_as_without(offset, kind, tmp_path):
    random = numpy.random.default_rng(3)
    query, gallery = random.integers(-9, 10, (20, 8)), random.integers(-9, 10, (200, 8))
    labels = (random.integers(0, 9, 20), random.integers(0, 9, 200))
    expected = evaluate(query.astype(float), gallery.astype(float), *labels)
    moved = (gallery + offset).astype(numpy.float64)
    if kind == "tensor":
        moved = torch.from_numpy(moved)
    if kind == "map":
        numpy.save(tmp_path / "gallery.npy", moved)
        moved = numpy.load(tmp_path / "gallery.npy", mmap_mode="r")
    assert evaluate(query + offset, moved, *labels) == expected


@pytest.mark.parametrize("exponent", [-130, -80, -50, 50, 80, 120])
@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
@pytest.mark.parametrize("kind", ["array", "map"])
def test_evaluate_features_of_any_size_rank_alike(exponent, distance, kind, tmp_path):
    """Products of features of 2^80 or 2^-80 leave float32; a power of two changes no order."""
    random = numpy.random.default_rng(8)
    query, gallery = (random.normal(size=(n, 8)).astype(numpy.float32) for n in (20, 200))
    labels = (random.integers(0, 9, 20), random.integers(0, 9, 200))
    scale = numpy.float32(2.0**exponent)
    moved = gallery * scale
    if kind == "map":
        numpy.save(tmp_path / "gallery.npy", moved)
        moved = numpy.load(tmp_path / "gallery.npy", mmap_mode="r")
    # Unit length, where it is taken, is taken in float64: ties apart, the order is the same.
    expected = evaluate(query, gallery, *labels, distance=distance)
    assert evaluate(query * scale, moved, *labels, distance=distance) == expected


def test_evaluate_nearly_parallel_features_cosine_keeps_its_order():
    """Cosine distances 1e-9 apart are lost in float32, but not once the common part is off."""
    random = numpy.random.default_rng(4)
    small, common = random.normal(size=(60, 6)), numpy.full(6, 3e4)
    features = small + common
    identity = random.integers(0, 6, 60)
    unit = features / numpy.linalg.norm(features, axis=1, keepdims=True)
    # Half the squared difference is the cosine distance without cancellation.
    distances = squared(unit[:10], unit[10:]) / 2
    good = [set(numpy.flatnonzero(identity[10:] == own).tolist()) for own in identity[:10]]
    expected = transcribed(distances, good, [set()] * 10, "step")
    found = evaluate(features[:10], features[10:], identity[:10], identity[10:], distance="cosine")
    assert_same(found, expected)


@pytest.mark.parametrize("dtype", [numpy.float16, numpy.float32, numpy.float64])
def test_evaluate_memory_mapped_gallery_gives_the_same_figures(dtype, tmp_path):
    random = numpy.random.default_rng(5)
    gallery = random.normal(size=(3000, 16)).astype(dtype)
    query = random.normal(size=(40, 16)).astype(dtype)
    labels = (random.integers(0, 90, 40), random.integers(0, 90, 3000))
    numpy.save(tmp_path / "gallery.npy", gallery)
    mapped = numpy.load(tmp_path / "gallery.npy", mmap_mode="r")
    assert evaluate(query, mapped, *labels) == evaluate(query, gallery, *labels)


def test_evaluate_order_of_files_does_not_matter():
    random = numpy.random.default_rng(6)
    query, gallery = random.normal(size=(30, 8)), random.normal(size=(300, 8))
    qi, gi = random.integers(0, 40, 30), random.integers(0, 40, 300)
    qc, gc = random.integers(0, 4, 30), random.integers(0, 4, 300)
    expected = evaluate(query, gallery, qi, gi, qc, gc)
    q, m = random.permutation(30), random.permutation(300)
    found = evaluate(query[q], gallery[m], qi[q], gi[m], qc[q], gc[m])
    assert found == pytest.approx(expected, abs=1e-12)


def test_evaluate_blocks_of_the_gallery_give_the_same_figures_and_are_reported(monkeypatch):
    """In memory and mapped, with a common part or without: blocks of 1,024 rows change nothing."""
    monkeypatch.setattr("xferpipe.ops.inputs.BLOCK_BYTES", 1)
    random = numpy.random.default_rng(7)
    query, gallery = random.normal(size=(31, 8)), random.normal(size=(2500, 8))
    labels = (random.integers(0, 99, 31), random.integers(0, 99, 2500))
    for moved in (0, 1e3):
        reports = []
        whole = evaluate(query + moved, gallery + moved, *labels, query_expansion=2)
        found = evaluate(
            query + moved,
            gallery + moved,
            *labels,
            query_expansion=2,
            progress=lambda *report, kept=reports: kept.append(report),
        )
        assert found == whole
        for words in ("expanding queries", "ranking"):
            steps = [report[1:] for report in reports if report[0] == words]
            assert steps == [(done, 2500) for done in (0, 1024, 2048, 2500)]


def test_evaluate_unknown_cameras_are_never_the_same():
    """Both cameras are unknown, so the only image of the identity stays a positive."""
    nan = float("nan")
    found = evaluate(numpy.zeros((1, 2)), numpy.zeros((2, 2)), [7], [7, 8], [nan], [nan, 3.0])
    assert (found["rank1"], found["queries"]) == (1.0, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gallery": numpy.zeros((4, 3))}, "query has 2 features but gallery has 3"),
        ({"gallery_identity": [1, 2, 3]}, "gallery has 4 rows but gallery_identity has 3"),
        ({"query_identity": [0.5, 1.5]}, "number them"),
        ({"query_camera": [1, 1]}, "needs gallery_camera"),
        ({"gallery": numpy.full((4, 2), numpy.nan)}, "NaN"),
        ({"junk_rule": "same_plate"}, "allowed: same_camera"),
        ({"distance": "manhattan"}, "allowed: euclidean, cosine"),
        ({"ap_kind": "area"}, "ap_kind"),
        ({"query_identity": [8, 9]}, "their identities are not in it"),
        (
            {"query_camera": [1, 1], "gallery_camera": [1, 1, 1, 1]},
            "same_camera removed all 4 images",
        ),
    ],
)
def test_evaluate_wrong_input_says_what_to_do(change, message):
    arguments = {
        "query": numpy.ones((2, 2)),
        "gallery": numpy.ones((4, 2)),
        "query_identity": [0, 1],
        "gallery_identity": [0, 0, 1, 1],
        "query_camera": None,
        "gallery_camera": None,
        "junk_rule": "same_camera" if "query_camera" in change else None,
    } | change
    with pytest.raises(ValueError, match=message):
        evaluate(**arguments)
