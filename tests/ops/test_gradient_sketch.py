import itertools
import math

import pytest
import torch

from xferpipe import ops
from xferpipe.ops import philox, reference

from .test_gradient_gram import built, factors

DENSE = ("sparse", "srht", "rademacher", "gaussian")


def rows(n, p, seed=0):
    return torch.randn((n, p), generator=torch.Generator().manual_seed(seed))


def test_philox_known_answers_hold():
    """Known-answer tests of the Random123 distribution, kat_vectors, philox4x32 10."""
    zeros = philox.words(0, 0, torch.zeros(1, dtype=torch.int64))[0].tolist()
    assert [hex(word) for word in zeros] == ["0x6627e8d5", "0xe169c58d", "0xbc57ac4c", "0x9b00dbd8"]


def test_gaussian_is_the_normal_quantile():
    """Against statistics.NormalDist; PPND7 promises about seven digits."""
    from statistics import NormalDist

    drawn = [0, 1, 1000, 2**26, 2**30, 2**31 - 1, 2**31, 3 * 2**30, 2**32 - 1]
    exact = torch.tensor([NormalDist().inv_cdf((word + 0.5) / 2**32) for word in drawn])
    torch.testing.assert_close(philox.gaussian(torch.tensor(drawn)), exact, rtol=2e-6, atol=1e-9)


@pytest.mark.parametrize("kind", DENSE)
@pytest.mark.parametrize(("n", "p", "k"), [(1, 1, 1), (3, 129, 7), (17, 1301, 33), (40, 700, 130)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradient_sketch_equals_twin(native, monkeypatch, kind, n, p, k, dtype):
    from xferpipe.ops import loading

    data = rows(n, p).to(dtype)
    ours = ops.gradient_sketch(data, k, kind=kind, seed=5)
    monkeypatch.setattr(loading, "_load", lambda: (None, "a test asked for the twins"))
    twin = ops.gradient_sketch(data, k, kind=kind, seed=5)
    torch.testing.assert_close(ours, twin, rtol=1e-5, atol=1e-5 * math.sqrt(p))


@pytest.mark.parametrize(
    ("n", "outputs", "inputs", "positions", "k"),
    [
        (1, 1, 1, 1, 1),
        (3, 20, 33, 4, 50),
        (9, 130, 65, 49, 120),
        (40, 530, 20, 3, 200),  # eleven samples meet in one vector of columns
        (70, 12, 9, 49, 100),  # several groups of samples
    ],
)
def test_gradient_sketch_kronecker_equals_twin(native, n, outputs, inputs, positions, k):
    pair = factors(n, outputs, inputs, positions)
    ours = ops.gradient_sketch(pair, k, kind="kronecker", seed=5)
    k1 = math.isqrt(k)
    twin = reference.gradient_sketch_kronecker(*pair, k1, -(-k // k1), k, 5)
    torch.testing.assert_close(ours, twin, rtol=1e-4, atol=1e-4 * positions)


@pytest.mark.parametrize("kind", [*DENSE, "kronecker"])
def test_gradient_sketch_inner_products_are_unbiased(backend, kind):
    """Mean over 200 seeds within five standard errors, for each of the pairs."""
    pair = factors(3, 6, 8, 3)
    exact = built(pair) @ built(pair).T
    drawn = []
    for seed in range(200):
        sketch = ops.gradient_sketch(pair, 12, kind=kind, seed=seed).double()
        drawn.append(sketch @ sketch.T)
    drawn = torch.stack(drawn)
    error = (drawn.mean(0) - exact).abs()
    assert (error <= 5 * drawn.std(0) / math.sqrt(200)).all()


@pytest.mark.parametrize("kind", DENSE)
def test_gradient_sketch_error_of_cosine_is_as_expected(native, kind):
    """Unrelated gradients: mean |cosine error| sqrt(2 / (pi k)), within a third."""
    k, data = 512, rows(40, 6000)
    sketch = torch.nn.functional.normalize(ops.gradient_sketch(data, k, kind=kind, seed=1))
    exact = torch.nn.functional.normalize(data)
    pairs = torch.ones(40, 40).triu(1).bool()
    error = (sketch @ sketch.T - exact @ exact.T)[pairs].abs().mean()
    expected = ops.gradient_plan(10**6, (6000,), k, kind="sparse").expected_error
    assert 0.67 * expected < error < 1.33 * expected


@pytest.mark.parametrize("kind", DENSE)
def test_gradient_sketch_pieces_and_threads_give_same_bits(native, two_threads, kind):
    n, p, k = 20, 3000, 40
    data = rows(n, p)
    lib = torch.ops.xferpipe
    whole = ops.gradient_sketch(data, k, kind=kind, seed=3)
    torch.set_num_threads(1)
    assert torch.equal(whole, ops.gradient_sketch(data, k, kind=kind, seed=3))
    for cuts in ((0, 1024, 3000), (0, 512, 2048, 3000)):
        out = torch.zeros((n, 64 if kind == "srht" else k))
        for first, end in itertools.pairwise(cuts):
            piece = data[:, first:end]
            if kind == "sparse":
                lib.gradient_sketch_sparse(piece, 3, first, out)
            elif kind == "srht":
                lib.gradient_sketch_fold(piece, 3, first, out)
            else:
                normal = kind == "gaussian"
                lib.gradient_sketch_dense(piece, 3, first, p, normal, 1 / math.sqrt(k), False, out)
        if kind == "srht":
            keys = philox.words(3, philox.HADAMARD_ROWS, torch.arange(64))[:, 0]
            chosen = keys.argsort(stable=True)[:k]
            out = lib.gradient_sketch_hadamard(out, chosen, 1 / math.sqrt(k))
        assert torch.equal(whole, out)
    # Any cut gives the same random numbers; sparse and srht add coordinate by coordinate.
    if kind in ("sparse", "srht"):
        out = torch.zeros((n, 64 if kind == "srht" else k))
        op = lib.gradient_sketch_sparse if kind == "sparse" else lib.gradient_sketch_fold
        for first, end in ((0, 7), (7, 130), (130, 2999), (2999, 3000)):
            op(data[:, first:end], 3, first, out)
        again = torch.zeros_like(out)
        op(data, 3, 0, again)
        assert torch.equal(out, again)


@pytest.mark.parametrize("kind", [*DENSE, "kronecker"])
def test_gradient_sketch_rows_do_not_depend_on_each_other(native, kind):
    pair = factors(21, 9, 11, 4)
    whole = ops.gradient_sketch(pair, 30, kind=kind, seed=2)
    half = ops.gradient_sketch([part[:10] for part in pair], 30, kind=kind, seed=2)
    torch.testing.assert_close(whole[:10], half, rtol=1e-5, atol=1e-5)


def test_gradient_sketch_seeds_differ_and_may_be_large(backend):
    data = rows(2, 50)
    seen = [ops.gradient_sketch(data, 8, kind="sparse", seed=seed) for seed in (0, 1, 2**64 - 1)]
    assert not torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])


@pytest.mark.parametrize(
    ("kind", "k", "message"),
    [
        ("kronecker", 4, "needs factors"),
        ("hash", 4, "must be one of"),
        ("sparse", 0, "k is 0"),
    ],
)
def test_gradient_sketch_bad_input_says_what_is_wrong(kind, k, message):
    with pytest.raises(ValueError, match=message):
        ops.gradient_sketch(rows(2, 5), k, kind=kind, seed=0)


@pytest.mark.parametrize("kind", DENSE)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_gradient_sketch_bad_value_names_the_row(backend, kind, value):
    data = rows(5, 40)
    data[3, 17] = value
    with pytest.raises(ValueError, match="gradients row 3 holds NaN"):
        ops.gradient_sketch(data, 6, kind=kind, seed=0)


@pytest.mark.parametrize("kind", ["kronecker", "sparse"])
@pytest.mark.parametrize("part", [0, 1])
def test_gradient_sketch_bad_value_in_a_factor_names_the_sample(backend, kind, part):
    pair = factors(5, 6, 7, 4)
    pair[part][3, 2, 1] = float("nan")
    name = ("output gradients", "input patches")[part]
    with pytest.raises(ValueError, match=f"{name} row 3 holds NaN"):
        ops.gradient_sketch(pair, 6, kind=kind, seed=0)


def test_gradient_plan_prefers_exact_below_twice_k():
    """Exact costs n^2 p / 2 multiply-adds, a dense sketch n p k: exact wins below n = 2k."""
    assert ops.gradient_plan(1900, (10**6,), 1000, kind="rademacher").method == "exact"
    assert ops.gradient_plan(2300, (10**6,), 1000, kind="rademacher").method == "sketch"
    plan = ops.gradient_plan(5000, (2048, 512, 49), 10000)
    assert plan.method == "sketch"
    assert plan.expected_error == pytest.approx(0.00798, abs=1e-5)
    assert "kronecker" in plan.reason


def test_gradient_plan_counts_products_of_positions_for_small_maps():
    """20,100 pairs of 200 samples: q^2 (300 + 200) each, or 60,000 each and per position built."""
    few, many = (ops.gradient_plan(200, (300, 200, q), 9).exact_operations for q in (4, 49))
    assert few == 20100 * 16 * 500
    assert many == (20100 + 200 * 49) * 60000


def test_gradient_sketch_ops_pass_opcheck(native):
    lib, data, pair = torch.ops.xferpipe, rows(3, 20), factors(3, 4, 5, 2)
    out = torch.zeros(3, 8)
    torch.library.opcheck(lib.gradient_sketch_sparse.default, (data, 1, 0, out))
    torch.library.opcheck(lib.gradient_sketch_fold.default, (data, 1, 0, out))
    torch.library.opcheck(
        lib.gradient_sketch_hadamard.default, (rows(3, 8), torch.tensor([1, 4]), 0.5)
    )
    arguments = (data, 1, 0, 20, False, 0.5, False, out)
    torch.library.opcheck(lib.gradient_sketch_dense.default, arguments)
    torch.library.opcheck(lib.gradient_sketch_kronecker.default, (*pair, 2, 3, 6, 1))
