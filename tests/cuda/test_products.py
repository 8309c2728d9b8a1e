"""Operands, their products in pieces, and what tensor cores cut off."""

import pytest
import torch

from xferpipe.ops import reference
from xferpipe.ops.cuda import products, ranking, sketches, sums
from xferpipe.ops.cuda.verification import CHECKS

from .conftest import make_dispatcher


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("n", "d"), [(1, 1), (3, 8), (5, 19), (40, 300)])
def test_high_and_low_parts_add_up_to_the_number(shim, n, d):
    matrix = draw(n, d)
    (left,) = products.operands(shim, matrix, products.LEFT)
    (right,) = products.operands(shim, matrix, products.RIGHT, rows=n + 2)
    width = products.padded(d)
    low, high, again = left.float().view(n, 3, width).unbind(1)
    assert torch.equal(high, again)
    assert torch.equal(high[:, :d], matrix.bfloat16().float())
    assert ((high + low)[:, :d] - matrix).abs().max() <= matrix.abs().max() * 2**-17
    assert not high[:, d:].any()
    assert not low[:, d:].any()
    parts = right.float().view(n + 2, 3, width)
    assert torch.equal(parts[:n], torch.stack([high, low, high], 1))
    assert not parts[n:].any()


def test_wide_rows_become_several_operands_and_bfloat16_has_no_low_part(shim):
    matrix = draw(2, products.DEPTH + 5).bfloat16()
    found = products.operands(shim, matrix, products.LEFT)
    assert [part.shape[1] for part in found] == [3 * products.DEPTH, 24]
    assert not found[0][:, : products.DEPTH].any()


@pytest.mark.parametrize("layout", ["rows apart", "unaligned", "strided"])
def test_operands_of_matrices_that_lie_otherwise(shim, layout):
    wide = draw(6, 64)
    matrix = {"rows apart": wide[:, :24], "unaligned": wide[:, 3:30], "strided": wide[::2, :17]}
    matrix = matrix[layout]
    (found,) = products.operands(shim, matrix, products.LEFT)
    (expected,) = products.operands(shim, matrix.clone(), products.LEFT)
    assert torch.equal(found, expected)


@pytest.mark.parametrize("distance", [0, 1])
@pytest.mark.parametrize("dtypes", [("float32", "float32"), ("bfloat16", "bfloat16")])
def test_scores_are_products_and_blocks_of_queries_hold_them(shim, monkeypatch, distance, dtypes):
    query, gallery = (draw(n, 21, seed=n).to(getattr(torch, t)) for n, t in zip((9, 50), dtypes))
    gallery[7] = 0
    norms = reference.squared_norms(gallery)
    expected = reference._scores(query, gallery, norms, distance)
    monkeypatch.setattr(products, "WORKSPACE", 4 * 56 * 4)
    blocks = list(products.score_blocks(shim, query, gallery, norms, distance))
    assert [first for first, _ in blocks] == [0, 4, 8]
    found = torch.cat([block for _, block in blocks])
    assert found.shape == (9, 56)
    assert (found[:, :50] - expected).abs().max() < 1e-5 * expected.abs().max()
    if distance == 1:
        assert not found[:, 7].any()


def test_ranking_in_blocks_of_queries_is_that_of_one(shim, monkeypatch):
    # Whole numbers: products of any shape have the same bits.
    query, gallery = draw(9, 5).mul(3).round(), draw(50, 5, seed=1).mul(3).round()
    norms = reference.squared_norms(gallery)
    offsets, index = torch.arange(10) * 50, torch.arange(50).repeat(9)
    run = make_dispatcher(shim).kernel
    for name in ("rank_metrics_nearer", "rank_metrics_scores"):
        arguments = (query, gallery, norms, offsets, index, 0)
        whole = run(name)(*arguments)
        with monkeypatch.context() as patch:
            patch.setattr(products, "WORKSPACE", 4 * 56 * 4)
            assert torch.equal(run(name)(*arguments), whole)
    kept = torch.zeros((9, 50))
    items = (query, gallery, torch.cat([reference.squared_norms(query), norms]), 7, kept)
    whole = [part.clone() for part in (*run("k_reciprocal_neighbours")(*items), kept)]
    monkeypatch.setattr(products, "WORKSPACE", 4 * 64 * 4)
    kept.zero_()
    for part, other in zip((*run("k_reciprocal_neighbours")(*items), kept), whole):
        assert torch.equal(part, other)


@pytest.mark.parametrize("planes", [1, 2])
@pytest.mark.parametrize(("size", "panel"), [(10, 16), (37, 16), (600, 16)])
def test_symmetric_products_in_panels_slabs_and_joins(shim, monkeypatch, size, panel, planes):
    monkeypatch.setattr(products, "PANEL", panel)
    monkeypatch.setattr(products, "JOINED", 2)
    monkeypatch.setattr(sums, "DEPTH", 16)
    monkeypatch.setattr(sums, "WORKSPACE", 3 * products.sums_bytes(size, planes))
    rows = draw(size, 171).bfloat16().float() if planes == 1 else draw(size, 171)
    gram = torch.zeros((size, size), dtype=torch.float64)
    cross = torch.zeros_like(gram) if planes == 2 else None
    for make, matrix in ((sums._row_stacks, rows), (sums._column_stacks, rows.T.contiguous())):
        gram.zero_()
        stacks = list(make(shim, matrix, None, None, planes, torch.bfloat16))
        assert len(stacks) > 2
        if cross is None:
            products.add_symmetric(shim, gram, None, stacks)
            found = gram.triu()
        else:
            cross.zero_()
            products.add_symmetric(shim, gram, cross, stacks)
            found = (gram + cross + cross.T).triu()
        expected = (rows.double() @ rows.double().T).triu()
        assert (found - expected).abs().max() < 1e-5 * expected.abs().max()


def test_power_of_two_brings_numbers_into_float16(shim):
    largest = torch.tensor([1.0, 0.75, 65504.0, 1e-30, 3e38, 0.0, 1e-45, 32768.0])
    scale = shim.float16_scale(largest)
    assert torch.equal(torch.frexp(scale)[0], torch.full_like(scale, 0.5))
    scaled = largest * scale
    assert (scaled < 2**15).all()
    assert (scaled[:5] >= 2**14).all()


def cut_off(left, right, out=None):
    """Multiply as tensor cores do: sixteen steps at a time, cut toward zero."""
    shape = (*left.shape[:-1], right.shape[-2])
    total = torch.zeros(shape, dtype=torch.float64)
    for first in range(0, left.shape[-1], 16):
        step = slice(first, first + 16)
        total += left[..., step].double() @ right[..., step].double().mT
        rounded = total.float()
        beyond = rounded.double().abs() > total.abs()
        total = torch.where(beyond, rounded.nextafter(torch.zeros(())), rounded).double()
    return total.float() if out is None else out.add_(total.float())


@pytest.fixture
def tensor_cores(monkeypatch):
    for module in (products, sums, sketches):
        monkeypatch.setattr(module, "multiply", cut_off)


@pytest.mark.parametrize("family", sorted(CHECKS))
def test_check_passes_where_sums_are_cut_off(shim, tensor_cores, family):
    dispatcher = make_dispatcher(shim)
    run = lambda name, *given: dispatcher.kernel(name)(*given)  # noqa: E731
    CHECKS[family](run, torch.device("cpu"))


def test_deep_sums_join_by_rounded_additions(shim, tensor_cores, monkeypatch):
    """Cut off all the way, sums of positive numbers fall short by more at every step."""
    query, gallery = draw(4, 16_000).abs(), draw(9, 16_000, seed=1).abs()
    norms = torch.zeros(9, dtype=torch.float64)
    exact = query.double() @ gallery.double().T

    def shortfall():
        ((_, scores),) = products.score_blocks(shim, query, gallery, norms, 0)
        return ((scores[:, :9] - exact) / exact).abs().max()

    joined = shortfall()
    monkeypatch.setattr(products, "DEPTH", 16_000)
    assert joined < 5e-6
    assert shortfall() > 4 * joined


def test_longest_list_of_the_dispatcher_takes_several_looks(shim):
    """Scores that keep getting better fill the memory for candidates again and again."""
    rising = torch.arange(9000, dtype=torch.float32)[None]
    for k in (1, 500, ranking.LONGEST_LIST):
        scores, rows, lowest = ranking._best(shim, rising, 9000, k, 5)
        assert scores[0].tolist() == list(range(8999, 8999 - k, -1))
        assert torch.equal(rows[0], scores[0].long() + 5)
        assert lowest.tolist() == [0.0]
        assert scores.is_contiguous()


def test_ranges_of_columns_all_hold_some(shim):
    """The width of a range is a multiple of four, so that the last of many might be left empty."""
    for columns in (8_388_609, 8192, 8193, 4096 * 7 + 1):
        block = torch.zeros((1, columns))
        block[0, 5] = -1
        _, _, lowest = shim.best_of_rows(block, columns, 1, 0)
        assert lowest.isfinite().all()
        assert lowest.min() == -1
