"""The public ops on the CUDA launchers and bodies, run on the CPU, against the torch twins."""

from functools import partial

import numpy as np
import pytest
import torch

from xferpipe import ops
from xferpipe.ops import loading, reference
from xferpipe.ops.cuda.verification import CHECKS


@pytest.fixture
def both(on_the_shim, monkeypatch):
    """Return a function that runs an op on the kernels and on the twins."""
    kernels = loading._implementation

    def run(function):
        with monkeypatch.context() as patch:
            patch.setattr(loading, "_implementation", lambda name, kind: getattr(reference, name))
            expected = function()
        with monkeypatch.context() as patch:
            patch.setattr(loading, "_implementation", kernels)
            return function(), expected

    return run


def numbers(shape, whole=False, seed=0):
    generator = torch.Generator().manual_seed(seed)
    if whole:
        return torch.randint(-2, 3, shape, generator=generator).float()
    return torch.randn(shape, generator=generator)


@pytest.mark.parametrize("family", sorted(CHECKS))
def test_family_of_kernels_agrees_with_its_twins(on_the_shim, family):
    run = lambda name, *given: on_the_shim.kernel(name)(*given)  # noqa: E731
    CHECKS[family](run, torch.device("cpu"))


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rank_metrics_equals_twin(both, distance, dtype):
    # Whole numbers: every product is exact, and many tie. Their cosines would tie but for rounding,
    # so those are of numbers that do not.
    whole = distance == "euclidean"
    query = numbers((140, 19), whole, 1).to(dtype)
    gallery = numbers((300, 19), whole, 2).to(dtype)
    # Identity 9 is no gallery item's: a query without positives. The last rows repeat the first.
    labels = torch.arange(140) % 10, torch.arange(300) % 9
    cameras = torch.arange(140) % 3, torch.arange(300) % 4
    ours, twin = both(
        lambda: ops.rank_metrics(query, gallery, *labels, *cameras, distance=distance)
    )
    assert torch.equal(ours.positives, twin.positives)
    assert torch.equal(ours.junk, twin.junk)
    assert torch.equal(ours.first_hit, twin.first_hit)
    for a, b in zip(ours[:2], twin[:2]):
        assert torch.allclose(a, b, rtol=1e-14, atol=0, equal_nan=True)


def test_rank_metrics_is_the_same_for_any_block_of_a_memory_map(on_the_shim, tmp_path):
    query, gallery = numbers((30, 40)), numbers((700, 40), seed=1)
    stored = np.memmap(tmp_path / "gallery", np.float32, "w+", shape=(700, 40))
    stored[:] = gallery.numpy()
    labels = torch.arange(30) % 5, torch.arange(700) % 5
    more = {"junk_rule": "none"}
    whole = ops.rank_metrics(query, gallery, *labels, **more)
    for rows in (90, 256):
        streamed = ops.rank_metrics(query, stored, *labels, block_rows=rows, **more)
        # Blocks of another shape may round another way; these ranks are far apart.
        assert torch.allclose(whole.ap, streamed.ap, atol=1e-3)
        assert torch.equal(whole.positives, streamed.positives)


def test_rank_metrics_takes_index_lists_and_columns_with_gaps(both):
    wide = numbers((50, 40), True, 3)
    query, gallery = wide[:9, ::2], wide[9:, ::2]
    hits = [[i, 40 - i] for i in range(9)]
    dropped = [[i + 15] for i in range(9)]
    zeros = torch.zeros(9, dtype=torch.int32), torch.zeros(41, dtype=torch.int32)
    more = {"junk_rule": "index_lists", "positives": hits, "junk": dropped}
    ours, twin = both(lambda: ops.rank_metrics(query, gallery, *zeros, **more))
    assert all(torch.equal(a, b) for a, b in zip(ours, twin))


def test_rank_metrics_from_distances_counts_on_the_device(both):
    distances = numbers((20, 300), True, 4).abs()
    labels = torch.arange(20) % 4, torch.arange(300) % 4
    run = partial(ops.rank_metrics_from_distances, distances, *labels, junk_rule="none")
    ours, twin = both(run)
    assert torch.allclose(ours.ap, twin.ap, rtol=1e-14, atol=0)
    assert torch.equal(ours.first_hit, twin.first_hit)


def test_nan_names_its_row(on_the_shim):
    gallery = numbers((40, 8))
    gallery[17, 3] = float("nan")
    labels = torch.zeros(4).long(), torch.zeros(40).long()
    with pytest.raises(ValueError, match="gallery row 17"):
        ops.rank_metrics(numbers((4, 8)), gallery, *labels, junk_rule="none")
    with pytest.raises(ValueError, match="features row 17"):
        ops.label_correlation(gallery, torch.arange(40) % 2)


@pytest.mark.parametrize("k", [1, 7, 50])
def test_nearest_equals_twin_for_short_galleries_duplicates_and_blocks(both, k):
    query, gallery = numbers((5, 6), True, 5), numbers((20, 6), True, 6).repeat(2, 1)
    for block_rows in (None, 7):
        ours, twin = both(lambda rows=block_rows: ops.nearest(query, gallery, k, block_rows=rows))
        assert torch.equal(ours[0], twin[0])
        assert torch.equal(ours[1], twin[1])
        assert ours[1].shape == (5, min(k, 40))


def test_nearest_of_no_query_and_of_one_row(both):
    for q, m in ((0, 5), (1, 1)):
        query, gallery = numbers((q, 3)), numbers((m, 3), seed=1)
        ours, twin = both(lambda query=query, gallery=gallery: ops.nearest(query, gallery, 3))
        assert torch.equal(ours[1], twin[1])


def test_k_reciprocal_equals_twin(both):
    query, gallery = numbers((12, 9), seed=7), numbers((60, 9), seed=8)
    ours, twin = both(lambda: ops.k_reciprocal(query, gallery, k1=6, k2=3).dense())
    assert torch.allclose(ours, twin, atol=1e-5)


@pytest.mark.parametrize("is_centered", [False, True])
@pytest.mark.parametrize("shape", [(1500, 20), (30, 200), (5000, 9)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_label_correlation_equals_twin(on_the_shim, shape, is_centered, dtype):
    features = numbers(shape).add_(0.5).to(dtype)
    features[: shape[0] // 2] += 1
    labels = (torch.arange(shape[0]) * 2 // shape[0]) * 7 - 3
    ours = on_the_shim.run("label_correlation_whole", features, labels, is_centered)
    twin = reference.label_correlation_whole(features, labels, is_centered)
    assert twin > 0.05
    assert abs(ours / twin - 1) < 1e-5


def test_label_correlation_loses_nothing_to_a_large_mean_or_a_massive_channel(on_the_shim):
    features, labels = numbers((600, 30)), torch.arange(600) // 200
    features += labels[:, None]
    features[:, 3] += 1000
    for is_centered in (False, True):
        ours = on_the_shim.run("label_correlation_whole", features, labels, is_centered)
        twin = reference.label_correlation_whole(features, labels, is_centered)
        assert abs(ours / twin - 1) < 2e-5


@pytest.mark.parametrize("power", [-120, -80, 63, 110])
@pytest.mark.parametrize("shape", [(20, 50), (60, 8)])
def test_label_correlation_does_not_depend_on_the_size_of_the_features(on_the_shim, shape, power):
    features, labels = numbers(shape), torch.arange(shape[0]) % 3
    for is_centered in (False, True):
        run = partial(on_the_shim.run, "label_correlation_whole")
        expected = reference.label_correlation_whole(features, labels, is_centered)
        found = run(features * 2.0**power, labels, is_centered)
        assert abs(found / expected - 1) < 2e-5


def test_label_correlation_of_few_distinct_rows_is_no_more_than_one(on_the_shim):
    column = torch.tensor([0.1845703125, 0.1845703125, -1.9140625, -1.9140625])[:, None]
    found = on_the_shim.run(
        "label_correlation_whole", column.bfloat16(), torch.arange(4) // 2, True
    )
    assert abs(found - 1) < 2e-5


def test_label_correlation_sees_past_a_constant_channel_of_any_size(on_the_shim):
    features = numbers((600, 30)) + (torch.arange(600) // 200)[:, None]
    features[:, 3] = 1e5
    labels = torch.arange(600) // 200
    found = on_the_shim.run("label_correlation_whole", features, labels, True)
    features[:, 3] = 0
    assert abs(found / reference.label_correlation_whole(features, labels, True) - 1) < 2e-5


def test_constant_features_and_labels_have_no_correlation(on_the_shim):
    constant = torch.full((40, 5), 0.3)
    for features, labels in (
        (constant, torch.arange(40) % 3),
        (constant.bfloat16(), torch.arange(40) % 3),
        (numbers((40, 5)), torch.full((40,), 2)),
    ):
        assert on_the_shim.run("label_correlation_whole", features, labels, False).isnan()


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_empty_gradients_have_empty_sums(both, precision):
    for gradients in (
        torch.zeros((0, 5)),
        torch.zeros((3, 0)),
        (torch.zeros((0, 2, 3)), torch.zeros((0, 4, 3))),
    ):
        gram = partial(ops.gradient_gram, gradients, precision=precision)
        ours, twin = both(gram)
        assert torch.equal(ours, twin)
    sketch = partial(ops.gradient_sketch, torch.zeros((3, 0)), 4, kind="rademacher", seed=0)
    ours, twin = both(partial(sketch, precision=precision))
    assert torch.equal(ours, twin)


def test_rank_metrics_takes_labels_that_are_columns_of_a_table(both):
    query, gallery = numbers((9, 5), True, 1), numbers((40, 5), True, 2)
    sides = [torch.stack([torch.arange(n) % 3, torch.arange(n) % 4], 1) for n in (9, 40)]
    labels = [side[:, column] for column in (0, 1) for side in sides]
    ours, twin = both(lambda: ops.rank_metrics(query, gallery, *labels))
    assert torch.equal(ours.first_hit, twin.first_hit)


def test_gradient_gram_and_its_factors_equal_twin(both):
    factors = numbers((7, 20, 9)), numbers((7, 33, 9), seed=1)
    for gradients in (numbers((7, 3000)), factors, tuple(part[:, :, :1] for part in factors)):
        ours, twin = both(lambda gradients=gradients: ops.gradient_gram(gradients))
        assert torch.allclose(ours, twin, rtol=0, atol=1e-5 * twin.abs().max())


@pytest.mark.parametrize("kind", ["sparse", "srht", "rademacher", "gaussian", "kronecker"])
def test_gradient_sketch_equals_twin(both, kind):
    factors = numbers((4, 20, 9)), numbers((4, 33, 9), seed=1)
    inputs = [factors] if kind == "kronecker" else [numbers((4, 900)), factors]
    for gradients in inputs:
        ours, twin = both(lambda g=gradients: ops.gradient_sketch(g, 50, kind=kind, seed=2**63 + 9))
        assert torch.allclose(ours, twin, rtol=0, atol=2e-5 * twin.abs().max())


def test_sparse_sketch_wider_than_shared_memory_and_long_transform(on_the_shim):
    data = numbers((2, 300), True)
    out = torch.zeros((2, 50_000))
    expected = out.clone()
    on_the_shim.run("gradient_sketch_sparse", data, 3, 0, out)
    reference.gradient_sketch_sparse(data, 3, 0, expected)
    assert torch.equal(out, expected)
    folded, chosen = numbers((1, 1 << 16), True), torch.arange(0, 1 << 16, 97)
    ours = on_the_shim.run("gradient_sketch_hadamard", folded, chosen, 1.0)
    assert torch.equal(ours, reference.gradient_sketch_hadamard(folded, chosen, 1.0))
