import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from xferpipe import ops
from xferpipe.ops import reference
from xferpipe.ops.pairs import make_pairs

from . import naive


def sample(q, m, d, identities=5, cameras=3, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    query = torch.randn((q, d), generator=generator)
    gallery = torch.randn((m, d), generator=generator)
    query_identity = torch.arange(q) % identities
    gallery_identity = torch.arange(m) % identities
    cameras = [torch.randint(cameras, (n,), generator=generator) for n in (q, m)]
    return query.to(dtype), gallery.to(dtype), query_identity, gallery_identity, *cameras


def on_a_grid(*shape, seed=0):
    """Small integers: float32 holds every score exactly and many of them tie."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-2, 3, shape, generator=generator).float()


def masks(query_identity, gallery_identity, query_camera, gallery_camera, junk_rule):
    hit = (query_identity[:, None] == gallery_identity[None]).numpy()
    same = (query_camera[:, None] == gallery_camera[None]).numpy()
    return hit, hit & same if junk_rule == "same_camera" else hit & False


def assert_equal_metrics(found, expected, rtol=1e-12):
    for name, value in zip(("ap", "inp", "first_hit", "positives", "junk"), expected):
        np.testing.assert_allclose(getattr(found, name).numpy(), value, rtol=rtol, err_msg=name)


# 14 query rows and 32 gallery rows are panels, 224 and 256 tiles.
@pytest.mark.parametrize(
    ("q", "m", "d"),
    [
        (1, 1, 1),
        (1, 7, 3),
        (2, 300, 5),
        (15, 33, 17),
        (14, 256, 16),
        (97, 513, 31),
        (231, 129, 8),
    ],
)
@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
@pytest.mark.parametrize("ap_kind", ["step", "trapezoid"])
@pytest.mark.parametrize("junk_rule", ["same_camera", "none"])
def test_rank_metrics_any_shape_equals_definition(backend, q, m, d, distance, ap_kind, junk_rule):
    data = sample(q, m, d, identities=min(5, m))
    if distance == "euclidean":
        # Exact arithmetic on both sides, so the many ties must be broken alike.
        data = (on_a_grid(q, d), on_a_grid(m, d, seed=1), *data[2:])
    if q == 1:
        data = (*data[:4], data[4] * 0, data[5] * 0 + (junk_rule == "same_camera"))
    hit, junk = masks(*data[2:], junk_rule)
    expected = naive.rank_metrics(naive.distances(*data[:2], distance), hit, junk, ap_kind)
    found = ops.rank_metrics(*data, distance=distance, ap_kind=ap_kind, junk_rule=junk_rule)
    assert_equal_metrics(found, expected)


@pytest.mark.parametrize("thresholds", [1, 15, 16, 17, 65, 127, 128, 129, 400])
def test_rank_metrics_any_number_of_hits_equals_definition(backend, thresholds):
    """Counts and marks (more than 128 hits) are two code paths with one result."""
    query, gallery = on_a_grid(3, 6), on_a_grid(600, 6, seed=1)
    query_identity = torch.zeros(3, dtype=torch.int64)
    gallery_identity = (
        torch.randperm(600, generator=torch.Generator().manual_seed(3)) >= thresholds
    ).long()
    hit = (query_identity[:, None] == gallery_identity[None]).numpy()
    expected = naive.rank_metrics(naive.distances(query, gallery, "euclidean"), hit, hit & False)
    found = ops.rank_metrics(query, gallery, query_identity, gallery_identity, junk_rule="none")
    assert_equal_metrics(found, expected)


@pytest.mark.parametrize("block_rows", [1, 7, 64, None])
def test_rank_metrics_ties_in_other_blocks_go_to_the_smaller_row(backend, block_rows, monkeypatch):
    """Whole numbers tie by the dozen, within a block of the gallery and across its edges."""
    # Of the twins also the queries come in blocks, of two at most.
    monkeypatch.setattr(reference, "BLOCK_ENTRIES", 2 * (block_rows or 150))
    query, gallery = on_a_grid(9, 3), on_a_grid(150, 3, seed=1)
    labels = torch.arange(9) % 4, torch.arange(150) % 4
    hit = (labels[0][:, None] == labels[1][None]).numpy()
    expected = naive.rank_metrics(naive.distances(query, gallery, "euclidean"), hit, hit & False)
    found = ops.rank_metrics(query, gallery, *labels, junk_rule="none", block_rows=block_rows)
    assert_equal_metrics(found, expected)


@pytest.mark.parametrize("step", [1, 7, 64, 150])
@pytest.mark.parametrize("implementation", ["twin", "native"])
def test_rank_metrics_counts_of_blocks_add_up_to_brute_force(implementation, step, request):
    """Before a pair come higher scores, and of equal ones those of smaller rows, in any block."""
    if implementation == "native":
        request.getfixturevalue("native")
    lib = torch.ops.xferpipe if implementation == "native" else reference
    query, gallery = on_a_grid(9, 3), on_a_grid(150, 3, seed=1)
    labels = torch.arange(9) % 4, torch.arange(150) % 4
    pairs = make_pairs(9, 150, *labels, None, None, junk_rule="none", positives=None, junk=None)
    norms = reference.squared_norms(gallery)
    scores = query @ gallery.T - 0.5 * gallery.square().sum(1)
    owner = torch.repeat_interleave(torch.arange(9), pairs.offsets.diff())
    own = scores[owner, pairs.index]
    found = torch.zeros_like(pairs.index)
    for first in range(0, 150, step):
        block = slice(first, first + step)
        lists = (query, gallery[block], norms[block], pairs.offsets, pairs.index)
        found += lib.rank_metrics_counts(*lists, own, reference.EUCLIDEAN, first)
    ties = (scores[owner] == own[:, None]) & (torch.arange(150) < pairs.index[:, None])
    assert ties.sum() > 100
    assert torch.equal(found, ((scores[owner] > own[:, None]) | ties).sum(1))


def test_rank_metrics_counts_equal_brute_force_on_own_scores(native):
    """Rankings of float32 and float64 differ; the counts are exact on the scores of the kernel."""
    query, gallery, qid, gid, *_ = sample(57, 801, 129, identities=9)
    for code in (0, 1):
        norms = torch.ops.xferpipe.squared_norms(gallery)
        everything = torch.arange(801).repeat(57)
        offsets = torch.arange(58) * 801
        lib = torch.ops.xferpipe
        scores = lib.rank_metrics_scores(query, gallery, norms, offsets, everything, code)
        table = scores.reshape(57, 801)
        pairs = make_pairs(
            57, 801, qid, gid, None, None, junk_rule="none", positives=None, junk=None
        )
        own = lib.rank_metrics_scores(query, gallery, norms, pairs.offsets, pairs.index, code)
        nearer = lib.rank_metrics_counts(
            query, gallery, norms, pairs.offsets, pairs.index, own, code, 0
        )
        owner = torch.repeat_interleave(torch.arange(57), pairs.offsets.diff())
        assert torch.equal(own, table[owner, pairs.index])
        rows = table[owner]
        ties = (rows == own[:, None]) & (torch.arange(801)[None] < pairs.index[:, None])
        assert torch.equal(nearer, ((rows > own[:, None]) | ties).sum(1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_rank_metrics_score_error_at_most_twice_that_of_torch(native, dtype, distance):
    """The tolerance rule: error against float64 at most twice that of torch in the same dtype."""
    query, gallery, *_ = sample(40, 90, 300, dtype=dtype)
    norms = torch.ops.xferpipe.squared_norms(gallery)
    offsets, index = torch.arange(41) * 90, torch.arange(90).repeat(40)
    code = ["euclidean", "cosine"].index(distance)
    found = torch.ops.xferpipe.rank_metrics_scores(query, gallery, norms, offsets, index, code)
    exact = query.double() @ gallery.double().T
    plain = (query @ gallery.T).double()
    if code:
        exact, plain = (x / gallery.double().norm(dim=1) for x in (exact, plain))
    else:
        exact, plain = (x - norms / 2 for x in (exact, plain))
    error = (found.reshape(40, 90).double() - exact).norm()
    assert error <= 2 * (plain.float().double() - exact).norm()


def test_rank_metrics_duplicates_go_to_the_smaller_row(backend):
    """All gallery rows equal: the ranking is the row order, so every metric is known by hand.

    Hits at rows 1 and 3 of 4: AP = (1/2 + 2/4)/2, INP = 2/4, first hit 2.
    """
    query, gallery = torch.ones(1, 9), torch.ones(4, 9)
    found = ops.rank_metrics(query, gallery, [1], [0, 1, 0, 1], junk_rule="none")
    assert found.ap.tolist() == [0.5]
    assert found.inp.tolist() == [0.5]
    assert found.first_hit.tolist() == [2]


@pytest.mark.parametrize("copies", [3, 200])
def test_rank_metrics_duplicated_gallery_equals_definition(backend, copies):
    query = torch.randn((6, 20), generator=torch.Generator().manual_seed(0))
    gallery = torch.randn((9, 20), generator=torch.Generator().manual_seed(1)).repeat(copies, 1)
    qid = torch.arange(6) % 3
    gid = torch.randint(3, (9 * copies,), generator=torch.Generator().manual_seed(2))
    hit = (qid[:, None] == gid[None]).numpy()
    first = naive.distances(query, gallery[:9], "euclidean")
    expected = naive.rank_metrics(np.tile(first, (1, copies)), hit, hit & False)
    assert_equal_metrics(ops.rank_metrics(query, gallery, qid, gid, junk_rule="none"), expected)


def test_rank_metrics_trapezoid_hand_calculation_holds(backend):
    """Hits [0, 1] give 0.25 where step gives 0.5 (docs of the official VeRi script)."""
    query, gallery = torch.zeros(1, 1), torch.tensor([[1.0], [2.0]])
    for kind, value in (("step", 0.5), ("trapezoid", 0.25)):
        found = ops.rank_metrics(query, gallery, [1], [0, 1], junk_rule="none", ap_kind=kind)
        assert found.ap.tolist() == [value]


def test_rank_metrics_index_lists_equal_definition(backend):
    query, gallery, qid, gid, *_ = sample(12, 80, 7)
    generator = torch.Generator().manual_seed(5)
    kind = torch.randint(4, (12, 80), generator=generator).numpy()
    positives = [np.flatnonzero(row == 1)[::-1].copy() for row in kind]
    junk = [np.flatnonzero(row == 2).tolist() for row in kind]
    expected = naive.rank_metrics(
        naive.distances(query, gallery, "euclidean"), kind == 1, kind == 2
    )
    found = ops.rank_metrics(
        query, gallery, qid, gid, junk_rule="index_lists", positives=positives, junk=junk
    )
    assert_equal_metrics(found, expected)


def test_rank_metrics_query_without_positive_is_flagged(backend):
    query, gallery, qid, gid, *_ = sample(4, 30, 5)
    qid[2] = 99
    found = ops.rank_metrics(query, gallery, qid, gid, junk_rule="none")
    assert found.positives.tolist()[2] == 0
    assert found.first_hit.tolist()[2] == 0
    assert found.ap.isnan().tolist() == found.inp.isnan().tolist() == [False, False, True, False]


def test_rank_metrics_no_query_returns_empty(backend):
    """A re-identification split may hold no query at all: there is nothing to report, no error."""
    _, gallery, _, gid, *_ = sample(1, 10, 5)
    found = ops.rank_metrics(torch.empty(0, 5), gallery, [], gid, junk_rule="none")
    assert [len(value) for value in found] == [0] * 6


@pytest.mark.parametrize("junk_rule", ["same_camera", "none"])
def test_rank_metrics_threads_and_blocks_give_same_bits(native, two_threads, junk_rule):
    data = sample(60, 700, 40)
    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for block_rows in (None, 1, 64, 333):
            results.append(ops.rank_metrics(*data, junk_rule=junk_rule, block_rows=block_rows))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other))


def test_rank_metrics_memory_map_equals_tensor(native, tmp_path):
    query, gallery, *rest = sample(20, 3000, 33)
    expected = ops.rank_metrics(query, gallery, *rest)
    for dtype in (np.float32, np.float64):
        path = tmp_path / np.dtype(dtype).name
        gallery.numpy().astype(dtype).tofile(path)
        stored = np.memmap(path, dtype=dtype, mode="r", shape=(3000, 33))
        found = ops.rank_metrics(query, stored, *rest)
        assert all(torch.equal(a, b) for a, b in zip(expected, found))


def test_rank_metrics_strided_input_and_label_types_give_same_bits(backend):
    query, gallery, *labels = sample(20, 90, 64)
    expected = ops.rank_metrics(query[:, :30].clone(), gallery[:, :30].clone(), *labels)
    ways = [
        (query[:, :30], gallery[:, :30], *labels),
        (query[:, :30].T.contiguous().T, gallery[:, :30].T.contiguous().T, *labels),
        (query[:, :30], gallery[:, :30], *(x.int() for x in labels)),
        (query[:, :30].numpy(), gallery[:, :30].numpy(), *(x.numpy() for x in labels)),
    ]
    for way in ways:
        assert all(torch.equal(a, b) for a, b in zip(expected, ops.rank_metrics(*way)))


def test_rank_metrics_from_distances_equals_definition(backend):
    _, _, *labels = sample(33, 300, 4)
    dist = on_a_grid(33, 300)
    for junk_rule in ("same_camera", "none"):
        hit, junk = masks(*labels, junk_rule)
        expected = naive.rank_metrics(dist.numpy(), hit, junk)
        whole = ops.rank_metrics_from_distances(dist, *labels, junk_rule=junk_rule)
        assert_equal_metrics(whole, expected)
        found = ops.rank_metrics_from_distances(
            (block for block in dist.split(10)), *labels, junk_rule=junk_rule
        )
        assert all(torch.equal(a, b) for a, b in zip(whole, found) if not a.is_floating_point())


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ({"gallery": torch.ones(30, 6)}, {}, "query has 5 features but gallery has 6"),
        ({"gallery_identity": [1, 2]}, {}, "gallery has 30 rows but gallery_identity"),
        ({"query_camera": None}, {}, "needs query_camera"),
        ({}, {"distance": "manhattan"}, "must be one of"),
        ({}, {"ap_kind": "mean"}, "must be one of"),
        ({}, {"junk_rule": "all"}, "must be one of"),
        ({}, {"junk_rule": "index_lists"}, "needs positives and junk"),
        ({}, {"positives": [[0]]}, "index_lists"),
        ({"query_identity": torch.arange(4) + 50}, {}, "none of 4 queries has a positive"),
        (
            {"query_camera": torch.zeros(4).long(), "gallery_camera": torch.zeros(30).long()},
            {},
            "removed every hit",
        ),
        ({"query": torch.full((4, 5), float("nan"))}, {}, "query row 0 holds NaN"),
        (
            {"gallery": torch.ones(30, 5).index_fill(0, torch.tensor([17]), float("nan"))},
            {},
            "gallery row 17 holds NaN",
        ),
        ({"query": torch.full((4, 5), 1e19)}, {}, "query row 0 has length 2.24e"),
        (
            {"gallery": torch.ones(30, 5).index_fill(0, torch.tensor([17]), 1e30)},
            {"distance": "cosine"},
            "gallery row 17 has length 2.24e",
        ),
        (
            {"gallery": torch.ones(30, 5).index_fill(0, torch.tensor([17]), 1e-40)},
            {"distance": "cosine"},
            "gallery row 17 has length 2.24e-40, beyond what float32",
        ),
    ],
)
def test_rank_metrics_bad_input_says_what_is_wrong(backend, arguments, options, message):
    names = (
        "query",
        "gallery",
        "query_identity",
        "gallery_identity",
        "query_camera",
        "gallery_camera",
    )
    given = {**dict(zip(names, sample(4, 30, 5))), **arguments, **options}
    with pytest.raises(ValueError, match=message):
        ops.rank_metrics(**given)


@pytest.mark.parametrize(
    ("positives", "junk", "message"),
    [
        ([[0], [1], [2]], [[], [], [], []], "3 lists but there are 4"),
        ([[0], [1], [2], [30]], [[], [], [], []], "count from 1"),
        ([[0], [1], [2], [3]], [[], [1], [], []], "both a positive and junk of query 1"),
    ],
)
def test_rank_metrics_bad_lists_say_what_is_wrong(positives, junk, message):
    query, gallery, qid, gid, *_ = sample(4, 30, 5)
    with pytest.raises(ValueError, match=message):
        ops.rank_metrics(
            query, gallery, qid, gid, junk_rule="index_lists", positives=positives, junk=junk
        )


def test_rank_metrics_ops_pass_opcheck(native):
    query, gallery, qid, gid, *_ = sample(6, 40, 9)
    lib = torch.ops.xferpipe
    pairs = make_pairs(6, 40, qid, gid, None, None, junk_rule="none", positives=None, junk=None)
    lists = (pairs.offsets, pairs.index)
    torch.library.opcheck(lib.squared_norms.default, (gallery,))
    norms = lib.squared_norms(gallery)
    torch.library.opcheck(lib.rank_metrics_scores.default, (query, gallery, norms, *lists, 0))
    scores = lib.rank_metrics_scores(query, gallery, norms, *lists, 0)
    torch.library.opcheck(
        lib.rank_metrics_counts.default, (query, gallery, norms, *lists, scores, 0, 0)
    )
    torch.library.opcheck(lib.rank_metrics_dense.default, (torch.rand(6, 40), *lists))
    nearer = lib.rank_metrics_counts(query, gallery, norms, *lists, scores, 0, 0)
    torch.library.opcheck(lib.rank_metrics_summary.default, (pairs.offsets, nearer, pairs.junk, 0))


def test_rank_metrics_summary_equals_twin(native):
    labels = sample(30, 200, 9)[2:]
    pairs = make_pairs(30, 200, *labels, junk_rule="same_camera", positives=None, junk=None)
    dist = torch.rand((30, 200), generator=torch.Generator().manual_seed(0))
    nearer = reference.rank_metrics_dense(dist, pairs.offsets, pairs.index)
    assert torch.equal(
        nearer, torch.ops.xferpipe.rank_metrics_dense(dist, pairs.offsets, pairs.index)
    )
    for kind in (0, 1):
        arguments = (pairs.offsets, nearer, pairs.junk, kind)
        ours = torch.ops.xferpipe.rank_metrics_summary(*arguments)
        for a, b in zip(ours, reference.rank_metrics_summary(*arguments)):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=0, equal_nan=True)


def test_rank_metrics_index_outside_the_gallery_is_refused_by_the_op(native):
    query, gallery, *_ = sample(1, 5, 3)
    norms = torch.ops.xferpipe.squared_norms(gallery)
    with pytest.raises(RuntimeError, match="gallery row 5"):
        torch.ops.xferpipe.rank_metrics_scores(
            query, gallery, norms, torch.tensor([0, 1]), torch.tensor([5]), 0
        )


def test_twin_counts_tied_pairs_without_a_step_for_each():
    # On a GPU each step is a launch and a wait: two million tied pairs took minutes.
    class Steps(TorchDispatchMode):
        taken = 0

        def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
            self.taken += 1
            return function(*arguments, **(keywords or {}))

    def steps(m):
        with Steps() as counted:
            counts = reference.rank_metrics_dense(
                torch.ones((1, m)), torch.tensor([0, m]), rows[:m]
            )
        assert torch.equal(counts, rows[:m])  # all tie, so the row decides
        return counted.taken

    rows = torch.arange(500)
    assert steps(500) == steps(5)
