import numpy as np
import pytest
import torch

from xferpipe import ops

from . import naive


def sample(q, m, d, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((q, d), generator=generator), torch.randn((m, d), generator=generator)


@pytest.mark.parametrize(
    ("q", "m", "d", "k"),
    [
        (1, 1, 1, 1),
        (2, 7, 3, 7),
        (15, 33, 17, 5),
        (8, 520, 40, 30),
        (230, 129, 8, 3),
        (3, 5, 4, 9),
    ],
)
@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_nearest_any_shape_equals_definition_modulo_ties(backend, q, m, d, k, distance):
    query, gallery = sample(q, m, d)
    found, index = ops.nearest(query, gallery, k, distance=distance)
    dist = naive.distances(query, gallery, distance)
    assert found.shape == index.shape == (q, min(k, m))
    np.testing.assert_allclose(found, np.sort(dist, 1)[:, :k], atol=2e-5 * (1 + d))
    np.testing.assert_allclose(found, np.take_along_axis(dist, index.numpy(), 1), atol=2e-5 * d)


def test_nearest_ties_go_to_the_smaller_row(backend):
    generator = torch.Generator().manual_seed(0)
    gallery = torch.randint(-1, 2, (900, 3), generator=generator).float()
    query = torch.randint(-1, 2, (20, 3), generator=generator).float()
    _, index = ops.nearest(query, gallery, 60)
    order = np.argsort(naive.distances(query, gallery, "euclidean"), axis=1, kind="stable")
    np.testing.assert_array_equal(index.numpy(), order[:, :60])


def test_nearest_threads_and_blocks_give_same_bits(native, two_threads):
    query, gallery = sample(50, 700, 30)
    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for block_rows in (None, 7, 300):
            results.append(ops.nearest(query, gallery, 20, block_rows=block_rows))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other))


def test_nearest_order_agrees_with_rank_metrics(native):
    """The list and the metrics come from the same scores: first_hit is where the list says."""
    query, gallery = sample(30, 400, 20)
    qid, gid = torch.arange(30) % 8, torch.arange(400) % 8
    _, index = ops.nearest(query, gallery, 400)
    first = (gid[index] == qid[:, None]).int().argmax(1) + 1
    assert torch.equal(
        ops.rank_metrics(query, gallery, qid, gid, junk_rule="none").first_hit, first
    )


def test_nearest_memory_map_equals_tensor(native, tmp_path):
    query, gallery = sample(5, 2000, 16)
    gallery.numpy().tofile(tmp_path / "gallery")
    stored = np.memmap(tmp_path / "gallery", dtype=np.float32, mode="r", shape=(2000, 16))
    for a, b in zip(ops.nearest(query, gallery, 4), ops.nearest(query, stored, 4)):
        assert torch.equal(a, b)


def test_nearest_bfloat16_is_close_to_float32(native):
    query, gallery = (x.bfloat16() for x in sample(20, 300, 65))
    found, _ = ops.nearest(query, gallery, 5)
    expected, _ = ops.nearest(query.float(), gallery.float(), 5)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)


def test_nearest_empty_query_returns_empty(backend):
    """No query is no error: a search over an empty split returns empty lists."""
    found, index = ops.nearest(torch.empty(0, 4), torch.ones(6, 4), 2)
    assert found.shape == index.shape == (0, 2)


@pytest.mark.parametrize(
    ("query", "gallery", "k", "message"),
    [
        (torch.ones(2, 3), torch.ones(4, 3), 0, "k is 0"),
        (torch.ones(2, 3), torch.ones(4, 2), 1, "query has 3 features but gallery has 2"),
        (torch.ones(2, 3), torch.full((4, 3), float("nan")), 1, "gallery row 0 holds NaN"),
    ],
)
def test_nearest_bad_input_says_what_is_wrong(backend, query, gallery, k, message):
    with pytest.raises(ValueError, match=message):
        ops.nearest(query, gallery, k)


def test_nearest_op_passes_opcheck(native):
    query, gallery = sample(4, 20, 6)
    norms = torch.ops.xferpipe.squared_norms(gallery)
    torch.library.opcheck(
        torch.ops.xferpipe.nearest_scores.default, (query, gallery, norms, 3, 0, 0)
    )
