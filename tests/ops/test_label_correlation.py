import subprocess
import sys

import numpy as np
import pytest
import torch

from xferpipe import ops
from xferpipe.ops import reference

from . import naive


def sample(n, d, classes=4, seed=0, offset=0.3, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % classes
    features = torch.randn((n, d), generator=generator) + offset
    features[:, 0] += labels
    return features.to(dtype), labels


# 14 and 32 are register panels, 112 and 256 tiles, 1,024 a slab: each is crossed.
@pytest.mark.parametrize(
    ("n", "d"),
    [
        (2, 1),
        (2, 5),
        (3, 3),
        (8, 40),
        (15, 14),
        (33, 33),
        (129, 64),
        (151, 300),
        (300, 113),
        (257, 257),
        (1134, 40),
        (2100, 33),
    ],
)
@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_label_correlation_any_shape_equals_definition(backend, n, d, centered, dtype):
    features, labels = sample(n, d, classes=min(n, 4), dtype=dtype)
    expected = naive.label_correlation(features.double(), labels, centered)
    # (2, 1) centred is +-1 exactly: all digits are lost by neither side.
    assert ops.label_correlation(features, labels, centered=centered) == pytest.approx(
        expected, abs=2e-6
    )


def test_label_correlation_many_samples_relative_error_below_1e_7(native):
    features, labels = sample(6000, 96)
    expected = naive.label_correlation(features, labels)
    assert abs(ops.label_correlation(features, labels) / expected - 1) < 1e-7


@pytest.mark.parametrize(("n", "d"), [(6001, 96), (90, 3001)])
def test_label_correlation_bfloat16_relative_error_below_3e_6(native, n, d):
    """Odd counts on both sides: the last pair of a product of pairs is half empty."""
    features, labels = sample(n, d, dtype=torch.bfloat16)
    expected = naive.label_correlation(features.double(), labels)
    assert abs(ops.label_correlation(features, labels) / expected - 1) < 3e-6


def test_label_correlation_bfloat16_threads_and_chunks_give_same_bits(native, two_threads):
    features, labels = sample(3001, 50, dtype=torch.bfloat16)
    values = set()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for chunk_rows in (None, 1, 2048):
            values.add(ops.label_correlation(features, labels, chunk_rows=chunk_rows))
    assert len(values) == 1


def test_label_correlation_hand_calculation_holds():
    """Two samples of two classes, F = [1], [0]: Theta = [1 0; 0 0], K = [1 -1; -1 1].

    Means 1/4 and 0: covariance (1 - 1/4 + 1/4 + 1/4 - 1/4) = 1; norms sqrt(3/4) and 2, so 1/sqrt 3.
    """
    assert ops.label_correlation(torch.tensor([[1.0], [0.0]]), [0, 1]) == pytest.approx(3**-0.5)


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize(("n", "d"), [(5000, 70), (60, 1500)])
def test_label_correlation_threads_and_chunks_give_same_bits(native, two_threads, n, d, centered):
    features, labels = sample(n, d, classes=7)
    values = set()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for chunk_rows in (None, 1, 1024, 3000):
            values.add(
                ops.label_correlation(features, labels, centered=centered, chunk_rows=chunk_rows)
            )
    assert len(values) == 1


def test_label_correlation_strided_input_equals_contiguous(backend):
    features, labels = sample(200, 90)
    expected = ops.label_correlation(features[:, :45].contiguous(), labels)
    assert ops.label_correlation(features[:, :45], labels) == expected
    columns = features[:, ::2]
    assert ops.label_correlation(columns, labels) == ops.label_correlation(
        columns.contiguous(), labels
    )


def test_label_correlation_label_types_give_same_bits(backend):
    features, labels = sample(100, 20)
    values = {
        ops.label_correlation(features, kind)
        for kind in (labels, labels.int(), labels.numpy(), labels.tolist(), labels * 1000 - 7)
    }
    assert len(values) == 1


def test_label_correlation_memory_map_equals_tensor(native, tmp_path):
    features, labels = sample(3000, 40)
    for dtype in (np.float32, np.float64):
        path = tmp_path / f"features.{np.dtype(dtype).name}"
        features.numpy().astype(dtype).tofile(path)
        stored = np.memmap(path, dtype=dtype, mode="r", shape=(3000, 40))
        held = torch.from_numpy(np.array(stored))
        assert ops.label_correlation(stored, labels) == ops.label_correlation(held, labels)


@pytest.mark.parametrize("shape", [(40, 7), (30, 90)])
def test_label_correlation_of_float64_far_from_zero_is_exact(native, shape):
    """The classes' sums are multiplied by a mean that is a million times as large as they are."""
    generator = np.random.default_rng(0)
    labels = np.arange(shape[0]) % 2
    rest = generator.standard_normal(shape) + generator.standard_normal((2, shape[1]))[labels]
    features = np.round(rest, 4) + np.round(np.logspace(0, 6, shape[1]))
    exact = features.astype(np.longdouble)
    gram = exact @ exact.T
    gram -= gram.mean()
    kernel = np.where(labels[:, None] == labels, 1.0, -1.0)
    kernel -= kernel.mean()
    expected = (gram * kernel).sum() / np.sqrt((gram**2).sum() * (kernel**2).sum())
    assert abs(expected) < 1e-3
    assert ops.label_correlation(features, labels) == pytest.approx(float(expected), rel=1e-6)


MEMORY = """
import sys
from pathlib import Path
import numpy as np
from xferpipe import ops

def resident(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 1024

stored = np.load(sys.argv[1], mmap_mode="r")
labels = np.arange(len(stored)) % 4
ops.label_correlation(stored[:3000], labels[:3000], centered=True)
Path("/proc/self/clear_refs").write_text("5")
before = resident("VmRSS")
ops.label_correlation(stored, labels, centered=True)
print(resident("VmHWM") - before)
"""


def test_label_correlation_memory_map_is_resident_a_block_at_a_time(native, tmp_path):
    """Features of 156 MiB, read twice; a block has 32."""
    stored = np.lib.format.open_memmap(
        tmp_path / "features.npy", "w+", dtype=np.float32, shape=(160_000, 256)
    )
    random = np.random.default_rng(0)
    for rows in np.split(stored, 16):
        rows[:] = random.standard_normal(rows.shape, dtype=np.float32)
    command = [sys.executable, "-c", MEMORY, str(tmp_path / "features.npy")]
    done = subprocess.run(command, capture_output=True, text=True)
    if "clear_refs" in done.stderr:
        pytest.skip("peak memory cannot be reset here")
    assert float(done.stdout) < 32 + 32, done.stderr


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize(("n", "d"), [(2000, 64), (90, 200)])
def test_label_correlation_large_offset_keeps_its_digits(backend, n, d, centered):
    features, labels = sample(n, d, offset=30.0)
    expected = naive.label_correlation(features, labels, centered)
    value = ops.label_correlation(features, labels, centered=centered)
    assert value == pytest.approx(expected, rel=2e-6)


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("size", [1e3, 1e6, 1e15])
@pytest.mark.parametrize(("n", "d"), [(600, 30), (90, 200)])
def test_label_correlation_of_a_constant_channel_is_that_without_it(backend, n, d, size, centered):
    """It adds its square to all inner products, and a correlation knows no constant."""
    features, labels = sample(n, d)
    features[:, 3] = 0
    expected = naive.label_correlation(features, labels, centered)
    features[:, 3] = size
    value = ops.label_correlation(features, labels, centered=centered)
    assert value == pytest.approx(expected, rel=2e-6)


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize(("n", "d"), [(600, 30), (90, 200)])
def test_label_correlation_of_a_massive_channel_that_varies(backend, n, d, centered):
    features, labels = sample(n, d)
    features[:, 3] += 1e3
    expected = naive.label_correlation(features.double(), labels, centered)
    value = ops.label_correlation(features, labels, centered=centered)
    assert value == pytest.approx(expected, rel=2e-5)
    # In float64 it keeps its own digits.
    features = features.double()
    features[:, 3] += torch.randn(n, generator=torch.Generator().manual_seed(1)) * 1e-3 + 1e5
    expected = naive.label_correlation(features - 1e5 * (torch.arange(d) == 3), labels, True)
    value = ops.label_correlation(features, labels, centered=True)
    assert value == pytest.approx(expected, rel=2e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f, y: (f[:1], y[:1]), "two samples"),
        (lambda f, y: (f[:0], y[:0]), "two samples"),
        (lambda f, y: (f, y * 0), "two classes"),
        (lambda f, y: (f * 0 + 2, y), "constant"),
        (lambda f, y: (f.index_fill(0, torch.tensor([7]), float("nan")), y), "row 7 holds NaN"),
        (lambda f, y: (f.index_fill(0, torch.tensor([5]), float("inf")), y), "row 5 holds NaN"),
        (lambda f, y: (f, y[:-1]), "39"),
        (lambda f, y: (f, y.float()), "integers"),
        (lambda f, y: (f.long(), y), "floating point"),
        (lambda f, y: (f[0], y), "2-D"),
    ],
)
def test_label_correlation_bad_input_says_what_is_wrong(backend, change, message):
    features, labels = change(*sample(40, 12))
    with pytest.raises(ValueError, match=message):
        ops.label_correlation(features, labels)


def test_label_correlation_ops_pass_opcheck(native):
    features, labels = sample(50, 20)
    mean = features.double().mean(0)
    lib = torch.ops.xferpipe

    def zeros(*shape):
        return torch.zeros(shape, dtype=torch.float64)

    torch.library.opcheck(lib.column_sums.default, (features, zeros(20)))
    columns = (features, labels, mean, zeros(20, 20), zeros(4, 20))
    torch.library.opcheck(lib.label_correlation_columns.default, columns)
    rows = (features, labels, mean, zeros(50, 50), zeros(4, 20), zeros(1))
    torch.library.opcheck(lib.label_correlation_rows.default, rows)
    gram, sums = zeros(20, 20), zeros(4, 20)
    lib.label_correlation_columns(features, labels, mean, gram, sums)
    arguments = (gram, sums, labels.bincount(), mean, zeros(0))
    torch.library.opcheck(lib.label_correlation_finish.default, arguments)


@pytest.mark.parametrize("form", ["columns", "rows"])
def test_label_correlation_sums_equal_twin(native, form):
    features, labels = sample(1500, 45) if form == "columns" else sample(70, 300)
    (n, d), mean = features.shape, features.double().mean(0) + 0.5
    results = []
    for source in (torch.ops.xferpipe, reference):
        gram = torch.zeros((min(n, d),) * 2, dtype=torch.float64)
        sums = torch.zeros((4, d), dtype=torch.float64)
        along = [torch.zeros(1, dtype=torch.float64)] * (form == "rows")
        op = getattr(source, f"label_correlation_{form}")
        op(features, labels, mean, gram, sums, *along)
        none = mean[:0]
        finish = [
            source.label_correlation_finish(gram, sums, labels.bincount(), by, *(along or [none]))
            for by in (mean, none)
        ]
        results.append((gram.triu(), sums, torch.stack([*finish, *(a[0] for a in along)])))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(results[0][1], results[1][1], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(results[0][2], results[1][2], rtol=1e-6, atol=1e-9)


def test_label_correlation_wrong_class_index_is_refused_by_the_op(native):
    features, labels = sample(10, 5)
    shift = torch.zeros(5, dtype=torch.float64)
    gram = torch.zeros((5, 5), dtype=torch.float64)
    with pytest.raises(RuntimeError, match=r"labels\[3\] is 3 but there are 2 classes|labels\[2\]"):
        torch.ops.xferpipe.label_correlation_columns(
            features, labels, shift, gram, torch.zeros((2, 5), dtype=torch.float64)
        )
