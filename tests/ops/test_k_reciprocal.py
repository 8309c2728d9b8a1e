import sys

import numpy as np
import pytest
import torch

from xferpipe import ops
from xferpipe.ops import loading, reference_k_reciprocal

from . import naive


def definition(query, gallery, k1, k2, lambda_):
    """The paper's algorithm with dense N x N matrices, float64, ties by index."""
    items = np.concatenate([query, gallery]).astype(np.float64)
    n, q = len(items), len(query)
    dist = naive.distances(items, items, "euclidean")
    dist = dist / dist.max(axis=1, keepdims=True)
    rank = np.argsort(dist, axis=1, kind="stable")
    weights = np.zeros((n, n))

    def reciprocal(i, depth):
        return np.array([j for j in rank[i, :depth] if i in rank[j, :depth]], dtype=int)

    for i in range(n):
        own = reciprocal(i, k1 + 1)
        expansion = own
        for candidate in own:
            theirs = reciprocal(candidate, round(k1 / 2) + 1)
            if len(np.intersect1d(theirs, own)) > 2 / 3 * len(theirs):
                expansion = np.append(expansion, theirs)
        expansion = np.unique(expansion)
        weight = np.exp(-dist[i, expansion])
        weights[i, expansion] = weight / weight.sum()
    weights = np.stack([weights[rank[i, :k2]].mean(0) for i in range(n)])
    shared = np.stack([np.minimum(row, weights).sum(1) for row in weights[:q]])
    jaccard = 1 - shared / (2 - shared)
    return (jaccard * (1 - lambda_) + dist[:q] * lambda_)[:, q:]


def sample(q, m, d, identities=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    centre = 2 * torch.randn((identities, d), generator=generator)
    own = torch.randint(identities, (q + m,), generator=generator)
    rows = centre[own] + torch.randn((q + m, d), generator=generator)
    return rows[:q], rows[q:], own[:q], own[q:]


# 14 rows are a panel, 224 a tile of rows, 256 one of columns.
@pytest.mark.parametrize(
    ("q", "m", "d", "k1", "k2"),
    [
        (1, 30, 4, 5, 1),
        (7, 60, 9, 20, 6),
        (40, 250, 17, 20, 6),
        (30, 230, 8, 7, 8),
        (3, 18, 5, 20, 2),
    ],
)
@pytest.mark.parametrize("lambda_", [0.3, 0.0])
def test_k_reciprocal_equals_dense_definition(backend, q, m, d, k1, k2, lambda_):
    query, gallery, *_ = sample(q, m, d)
    found = ops.k_reciprocal(query, gallery, k1=k1, k2=k2, lambda_=lambda_).dense()
    expected = definition(query.numpy(), gallery.numpy(), k1, k2, lambda_)
    np.testing.assert_allclose(found.numpy(), expected, atol=3e-5)


def test_k_reciprocal_twin_in_blocks_equals_dense_definition(monkeypatch):
    """Blocks of 7 of 67 items: the queries' scores are kept from the first two of them."""
    monkeypatch.setattr(loading, "_load", lambda: (None, "a test asked for the twins"))
    monkeypatch.setattr(reference_k_reciprocal, "BLOCK_ENTRIES", 7 * 67)
    query, gallery, *_ = sample(12, 55, 9)
    found = ops.k_reciprocal(query, gallery, k1=8, k2=3)
    expected = definition(query.numpy(), gallery.numpy(), 8, 3, 0.3)
    np.testing.assert_allclose(found.dense().numpy(), expected, atol=3e-5)


def test_k_reciprocal_blocks_are_the_rows_of_the_whole(backend, monkeypatch):
    query, gallery, *_ = sample(20, 90, 6)
    for kept in (1 << 30, 0):
        monkeypatch.setattr(sys.modules["xferpipe.ops.k_reciprocal"], "KEPT_BYTES", kept)
        rows = ops.k_reciprocal(query, gallery, k1=8, k2=3)
        expected = definition(query.numpy(), gallery.numpy(), 8, 3, 0.3)
        blocks = list(rows.blocks(7))
        assert [len(block) for block in blocks] == [7, 7, 6]
        np.testing.assert_allclose(torch.cat(blocks).numpy(), expected, atol=3e-5)


def test_k_reciprocal_duplicates_equal_dense_definition(backend):
    generator = torch.Generator().manual_seed(4)
    rows = torch.randint(-1, 2, (90, 4), generator=generator).float()
    found = ops.k_reciprocal(rows[:10], rows[10:], k1=8, k2=3).dense()
    expected = definition(rows[:10].numpy(), rows[10:].numpy(), 8, 3, 0.3)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_k_reciprocal_blocks_feed_rank_metrics(backend):
    query, gallery, qid, gid = sample(20, 150, 6)
    rows = ops.k_reciprocal(query, gallery)
    whole = ops.rank_metrics_from_distances(rows.dense(), qid, gid, junk_rule="none")
    found = ops.rank_metrics_from_distances(rows.blocks(7), qid, gid, junk_rule="none")
    torch.testing.assert_close(found.ap, whole.ap)
    plain = ops.rank_metrics(query, gallery, qid, gid, junk_rule="none")
    # Clustered identities: what re-ranking is for.
    assert found.ap.mean() > plain.ap.mean()


def test_k_reciprocal_scores_made_again_equal_kept_ones(backend, monkeypatch):
    query, gallery, *_ = sample(40, 700, 12)
    kept = ops.k_reciprocal(query, gallery)
    assert kept.scores.shape == (40, 700)
    products = query.double() @ gallery.double().T - 0.5 * gallery.double().square().sum(1)
    torch.testing.assert_close(kept.scores, products.float(), rtol=1e-5, atol=1e-4)
    monkeypatch.setattr(sys.modules["xferpipe.ops.k_reciprocal"], "KEPT_BYTES", 4 * 40 * 700 - 1)
    again = ops.k_reciprocal(query, gallery)
    assert again.scores.numel() == 0
    torch.testing.assert_close(again.dense(), kept.dense(), rtol=1e-5, atol=1e-6)


def test_k_reciprocal_threads_give_same_bits(native, two_threads):
    query, gallery, *_ = sample(50, 700, 12)
    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        results.append(ops.k_reciprocal(query, gallery))
    for name in ("offsets", "index", "values", "farthest", "scores"):
        assert torch.equal(getattr(results[0], name), getattr(results[1], name))


def test_k_reciprocal_bfloat16_is_close_to_float32_of_the_same_values(native):
    query, gallery, *_ = (part.bfloat16() for part in sample(10, 120, 16)[:2])
    found = ops.k_reciprocal(query, gallery).dense()
    expected = ops.k_reciprocal(query.float(), gallery.float()).dense()
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k1": 40}, "k1 is 40 but there are 30"),
        ({"k2": 0}, "k2 is 0"),
        ({"lambda_": 1.5}, "lambda_ is 1.5"),
        ({"gallery": torch.ones(25, 3)}, "has 4 features"),
        ({"gallery": torch.full((25, 4), float("nan"))}, "gallery row 0 holds NaN"),
    ],
)
def test_k_reciprocal_bad_input_says_what_is_wrong(backend, change, message):
    given = {"query": torch.ones(5, 4), "gallery": torch.ones(25, 4), **change}
    with pytest.raises(ValueError, match=message):
        ops.k_reciprocal(**given)


def test_k_reciprocal_ops_pass_opcheck(native):
    query, gallery, *_ = sample(4, 30, 5)
    lib = torch.ops.xferpipe
    norms = lib.squared_norms(torch.cat([query, gallery]))
    arguments = (query, gallery, norms, 6, torch.empty(4, 30))
    torch.library.opcheck(lib.k_reciprocal_neighbours.default, arguments)
    found = lib.k_reciprocal_neighbours(*arguments)
    torch.library.opcheck(lib.k_reciprocal_rows.default, (query, gallery, norms, *found, 5, 3))
