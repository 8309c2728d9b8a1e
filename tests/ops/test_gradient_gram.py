import pytest
import torch

from xferpipe import ops


def factors(n, outputs, inputs, positions, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn((n, outputs, positions), generator=generator),
        torch.randn((n, inputs, positions), generator=generator),
    )


def built(pair):
    return (pair[0].double() @ pair[1].double().transpose(1, 2)).flatten(1)


# 14 and 32 samples are panels, 112 and 256 tiles, 1,024 coordinates a slab.
@pytest.mark.parametrize(("n", "p"), [(1, 1), (2, 1300), (33, 129), (150, 2500), (300, 40)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_gradient_gram_any_shape_equals_definition(backend, n, p, dtype):
    rows = torch.randn((n, p), generator=torch.Generator().manual_seed(0)).to(dtype)
    exact = rows.float().double() @ rows.float().double().T
    found = ops.gradient_gram(rows)
    assert torch.equal(found, found.T)
    assert (found - exact).norm() <= 2e-6 * exact.norm()


@pytest.mark.parametrize(
    ("n", "outputs", "inputs", "positions"),
    [
        (1, 1, 1, 2),
        (3, 5, 7, 4),
        (40, 30, 65, 9),
        (70, 113, 33, 49),
        (20, 16, 24, 1),
        (35, 7, 70, 130),  # three blocks of positions
        (33, 2, 600, 3),  # more columns than a tile may have
        (40, 60, 70, 3),  # few positions: products of single positions
        (150, 64, 90, 2),
        (30, 600, 513, 16),
    ],
)
def test_gradient_gram_factors_equal_built_gradients(backend, n, outputs, inputs, positions):
    pair = factors(n, outputs, inputs, positions)
    exact = built(pair) @ built(pair).T
    found = ops.gradient_gram(pair)
    assert torch.equal(found, found.T)
    assert (found - exact).norm() <= 2e-6 * exact.norm()


def test_gradient_gram_threads_give_same_bits(native, two_threads):
    pair, small_map = factors(70, 60, 80, 49), factors(150, 60, 80, 2)
    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        given = pair, small_map, pair[0].flatten(1)
        results.append([ops.gradient_gram(gradients) for gradients in given])
    assert all(torch.equal(a, b) for a, b in zip(*results))


def test_gradient_gram_no_sample_returns_empty(backend):
    """An empty probe set has an empty Gram matrix: the score above says why it is undefined."""
    assert ops.gradient_gram(torch.empty(0, 7)).shape == (0, 0)


@pytest.mark.parametrize(
    ("gradients", "message"),
    [
        (torch.ones(3, 4).index_fill(0, torch.tensor([2]), float("nan")), "row 2 holds NaN"),
        (
            (
                torch.ones(3, 4, 2).index_fill(0, torch.tensor([1]), float("inf")),
                torch.ones(3, 5, 2),
            ),
            "output gradients row 1 holds NaN",
        ),
        (
            (
                torch.ones(3, 4, 1),
                torch.ones(3, 5, 1).index_fill(0, torch.tensor([2]), float("nan")),
            ),
            "input patches row 2 holds NaN",
        ),
        ((torch.ones(3, 4, 2), torch.ones(3, 4, 5)), "positions"),
        ((torch.ones(3, 4), torch.ones(3, 4)), "must be"),
        ((torch.ones(3, 4, 1),), "pair"),
    ],
)
def test_gradient_gram_bad_input_says_what_is_wrong(backend, gradients, message):
    with pytest.raises(ValueError, match=message):
        ops.gradient_gram(gradients)


def test_gradient_gram_on_a_processor_is_the_same_at_either_precision(backend):
    data = torch.randn((6, 50), generator=torch.Generator().manual_seed(0))
    assert torch.equal(ops.gradient_gram(data), ops.gradient_gram(data, precision="float16"))
    with pytest.raises(ValueError, match="precision is 'half' but must be one of"):
        ops.gradient_gram(data, precision="half")


def test_gradient_gram_ops_pass_opcheck(native):
    pair, gram = factors(4, 3, 5, 2), torch.zeros((4, 4), dtype=torch.float64)
    lib = torch.ops.xferpipe
    torch.library.opcheck(lib.gradient_gram.default, (pair[0].flatten(1), False, gram))
    torch.library.opcheck(lib.gradient_gram_factors.default, (*pair, False, gram))
