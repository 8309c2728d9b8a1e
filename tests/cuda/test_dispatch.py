"""Which device runs which kernels, the self-check, and the way back to the twins."""

import re
import warnings

import pytest
import torch

from xferpipe import ops
from xferpipe.ops import reference
from xferpipe.ops.cuda import dispatch, ranking
from xferpipe.ops.cuda.verification import CHECKS
from xferpipe.ops.registered import FAMILIES, OPS

from .conftest import BUILT, SOURCES, make_dispatcher

CPU = torch.device("cpu")
# The family whose check must find out a kernel that writes nothing.
KERNELS = {
    "squared_norms": "ranking",
    "count_before": "ranking",
    "wrong_pairs": "ranking",
    "rank_metrics_summary": "ranking",
    "pair_bounds": "ranking",
    "fill_pairs": "ranking",
    "best_of_rows": "nearest",
    "split": "nearest",
    "float16_scale": "gradient_gram",
    "class_sums": "label_correlation",
    "class_moments": "label_correlation",
    "correlation": "label_correlation",
    "add_panel": "gradient_gram",
    "gram_moments": "label_correlation",
    "random_signs": "gradient_sketch",
    "random_normals": "gradient_sketch",
    "sparse_sketch": "gradient_sketch",
    "fold": "gradient_sketch",
    "hadamard": "gradient_sketch",
}


class Faulty:
    """The kernels with one of them replaced."""

    def __init__(self, kernels, name, replacement):
        self.kernels = kernels
        setattr(self, name, replacement)

    def __getattr__(self, name):
        return getattr(self.kernels, name)


@pytest.fixture(autouse=True)
def automatic(monkeypatch):
    monkeypatch.delenv("XFERPIPE_CUDA", raising=False)


@pytest.mark.parametrize(
    ("capability", "target"),
    [
        ((7, 5), None),
        ((8, 0), "sm_80"),
        ((8, 9), "sm_80"),
        ((9, 0), "sm_90a"),
        ((10, 0), "compute_80"),
        ((12, 1), "compute_80"),
    ],
)
def test_target_of_a_device_follows_cuda_compatibility(capability, target):
    assert dispatch.target_for(capability, BUILT) == target


def test_machine_code_of_one_architecture_alone_runs_nowhere_else():
    assert dispatch.target_for((9, 0), ("sm_80",)) is None
    assert dispatch.target_for((10, 3), ("sm_90a",)) is None
    assert dispatch.target_for((8, 0), ("sm_86",)) is None


def test_every_kernel_is_called_by_the_tests_below(shim):
    source = (SOURCES / "binding/cuda.cpp").read_text()
    assert set(re.findall(r'm\.impl\("(\w+)"', source)) == set(KERNELS)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_op_of_a_family_is_checked_and_has_kernels_and_a_twin(shim, family):
    dispatcher, called = make_dispatcher(shim), set()

    def run(name, *given):
        called.add(name)
        return dispatcher.kernel(name)(*given)

    CHECKS[family](run, CPU)
    assert called == {name for name, op in OPS.items() if op.family == family}
    assert all(hasattr(reference, name) for name in called)


def test_families_checks_and_twins_are_those_of_the_table():
    assert set(CHECKS) == set(FAMILIES)
    assert all(hasattr(reference, name) for name in OPS)


def writes_nothing(kernels, name):
    """Return a kernel that hands out memory of the right shapes and never writes to it."""

    def run(*given):
        before = [part.clone() if isinstance(part, torch.Tensor) else part for part in given]
        found = getattr(kernels, name)(*given)
        for part, was in zip(given, before):
            if isinstance(part, torch.Tensor):
                part.copy_(was)
        if found is None:
            return None
        parts = found if isinstance(found, (tuple, list)) else (found,)
        nothing = 0 if name == "wrong_pairs" else -9
        fresh = [
            torch.full_like(part, float("nan") if part.is_floating_point() else nothing)
            for part in parts
        ]
        return tuple(fresh) if isinstance(found, (tuple, list)) else fresh[0]

    return run


@pytest.mark.parametrize("name", KERNELS)
def test_kernel_that_writes_nothing_is_found_out_and_warned_of_once(shim, name):
    dispatcher = make_dispatcher(Faulty(shim, name, writes_nothing(shim, name)))
    family = KERNELS[name]
    with pytest.warns(RuntimeWarning, match=f"{family} kernels are not used on a stand-in"):
        assert not dispatcher.usable(family, CPU)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not dispatcher.usable(family, CPU)
    assert "torch twins (" in dispatcher.report(CPU)


@pytest.mark.parametrize("family", FAMILIES)
def test_check_passes_whatever_dtype_a_caller_chose_as_default(shim, family):
    torch.set_default_dtype(torch.float64)
    try:
        assert make_dispatcher(shim).usable(family, CPU)
    finally:
        torch.set_default_dtype(torch.float32)


def test_memory_that_runs_out_is_no_verdict_on_the_kernels(shim):
    def full(*given):
        raise torch.OutOfMemoryError("CUDA out of memory")

    dispatcher = make_dispatcher(Faulty(shim, "squared_norms", full))
    data = torch.ones((2, 2))
    with pytest.raises(torch.OutOfMemoryError):
        dispatcher.run("squared_norms", data)
    dispatcher.kernels = shim
    assert dispatcher.run("squared_norms", data).tolist() == [2.0, 2.0]
    assert dispatcher.verdicts == {("ranking", "cpu"): None}


def test_wrong_kernel_falls_back_to_a_right_result(shim):
    def wrong(rows):
        # 1e-9 off: less than any float32 rounding, more than a float64 sum.
        return shim.squared_norms(rows) * (1 + 1e-9)

    dispatcher = make_dispatcher(Faulty(shim, "squared_norms", wrong))
    data = torch.randn((5, 9), generator=torch.Generator().manual_seed(0))
    with pytest.warns(RuntimeWarning, match="squared_norms .*differs from the twin by") as seen:
        found = dispatcher.run("squared_norms", data)
    assert "XFERPIPE_CUDA=off" in str(seen[0].message)
    assert "doctor" in str(seen[0].message)
    assert torch.equal(found, reference.squared_norms(data))


def test_launch_error_falls_back_with_its_text(shim):
    def refuse(*given):
        raise RuntimeError("squared_norms: no kernel image is available for the device")

    dispatcher = make_dispatcher(Faulty(shim, "squared_norms", refuse))
    with pytest.warns(RuntimeWarning, match="no kernel image is available"):
        dispatcher.run("squared_norms", torch.ones((2, 2)))
    assert "no kernel image" in dispatcher.report(CPU)


def test_fault_that_ends_the_process_says_how_to_go_on(shim, monkeypatch):
    def die(*given):
        raise RuntimeError("an illegal memory access was encountered")

    def dead(*shape, device=None):
        raise RuntimeError("an illegal memory access was encountered")

    dispatcher = make_dispatcher(Faulty(shim, "squared_norms", die))
    monkeypatch.setattr(dispatch.torch, "zeros", dead)
    with pytest.warns(RuntimeWarning), pytest.raises(RuntimeError, match="XFERPIPE_CUDA=off"):
        dispatcher._verify("ranking", CPU)


def test_right_kernels_are_checked_once_and_used(shim):
    calls = []

    def counted(*given):
        calls.append(given)
        return shim.squared_norms(*given)

    dispatcher = make_dispatcher(Faulty(shim, "squared_norms", counted))
    data = torch.ones((4, 3))
    dispatcher.run("squared_norms", data)
    checked = len(calls)
    assert dispatcher.run("squared_norms", data).tolist() == [3.0] * 4
    assert len(calls) == checked + 1
    line = dispatcher.report(CPU)
    assert "sm_90a" in line
    assert "ranking kernels" in line
    assert "nearest checked at the first call" in line


def test_off_uses_twins_and_force_does_not_check(shim, monkeypatch):
    def never(*given):
        raise AssertionError("a kernel was called")

    dispatcher = make_dispatcher(Faulty(shim, "squared_norms", never))
    monkeypatch.setenv("XFERPIPE_CUDA", "off")
    assert dispatcher.run("squared_norms", torch.ones((1, 4))).tolist() == [4.0]
    assert "XFERPIPE_CUDA=off" in dispatcher.report(CPU)
    monkeypatch.setenv("XFERPIPE_CUDA", "force")
    with pytest.raises(AssertionError, match="a kernel was called"):
        dispatcher.run("squared_norms", torch.ones((1, 4)))
    assert not dispatcher.verdicts
    assert "unchecked" in dispatcher.report(CPU)
    monkeypatch.setenv("XFERPIPE_CUDA", "on")
    with pytest.raises(ValueError, match="'on' but must be one of auto, off, force"):
        dispatcher.run("squared_norms", torch.ones((1, 4)))


def test_old_device_takes_twins_without_a_warning(shim):
    dispatcher = make_dispatcher(shim, capability=(7, 5))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert dispatcher.run("squared_norms", torch.ones((1, 4))).tolist() == [4.0]
    assert "compute capability 7.5, but the kernels are for sm_80" in dispatcher.report(CPU)


def test_lists_longer_than_the_kernel_keeps_take_the_twin(shim, monkeypatch):
    monkeypatch.setenv("XFERPIPE_CUDA", "force")
    dispatcher = make_dispatcher(Faulty(shim, "best_of_rows", None))
    data = torch.randn((2500, 2), generator=torch.Generator().manual_seed(0))
    norms = reference.squared_norms(data)
    found = dispatcher.run("nearest_scores", data[:1], data, norms, 2200, 0, 0)
    assert found[1].shape == (1, 2200)


def test_longest_list_is_what_the_kernel_keeps(shim):
    block = torch.zeros((1, 8))
    assert shim.best_of_rows(block, 8, ranking.LONGEST_LIST, 0)[0].shape[2] == ranking.LONGEST_LIST
    with pytest.raises(RuntimeError, match=f"must be 1 .. {ranking.LONGEST_LIST}"):
        shim.best_of_rows(block, 8, ranking.LONGEST_LIST + 1, 0)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (torch.ones((4, 6)).t(), "columns next to each other"),
        (torch.ones((4, 6)).double(), "must be float32 or bfloat16"),
        (torch.ones(4), "must have 2"),
    ],
)
def test_kernels_refuse_what_they_cannot_read(shim, rows, words):
    with pytest.raises(RuntimeError, match=words):
        shim.squared_norms(rows)


@pytest.fixture
def forced(shim, monkeypatch):
    monkeypatch.setenv("XFERPIPE_CUDA", "force")
    return make_dispatcher(shim)


QUERY, GALLERY = torch.ones((2, 3)), torch.ones((5, 3))
NORMS, OFFSETS, INDEX = torch.full((5,), 3.0).double(), torch.tensor([0, 1, 3]), torch.arange(3)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"gallery": torch.ones((5, 4))}, "from one model and layer"),
        ({"norms": NORMS.float()}, "gallery_norms is torch.float32"),
        ({"norms": NORMS[:4]}, "of shape (4,) but must be float64 (5)"),
        ({"query": QUERY.double()}, "must be float32 or bfloat16"),
        ({"index": torch.tensor([0, 1, 5])}, "gallery row 5 but the gallery has 5 rows"),
        ({"index": torch.tensor([0, -1, 2])}, "gallery row -1"),
        ({"index": INDEX.int()}, "index must be contiguous and of the dtype"),
        ({"offsets": torch.tensor([0, 2, 1])}, "offsets must rise from 0"),
        ({"offsets": torch.tensor([0, 1, 9])}, "run from 0 to 9"),
        ({"offsets": torch.tensor([-5, 1, 3])}, "run from -5 to 3"),
        ({"offsets": OFFSETS[:2]}, "offsets has 2 entries but needs 3"),
    ],
)
@pytest.mark.parametrize("name", ["rank_metrics_nearer", "rank_metrics_scores"])
def test_ranking_refuses_what_the_processor_refuses(forced, name, changed, words):
    given = {"query": QUERY, "gallery": GALLERY, "norms": NORMS, "offsets": OFFSETS, "index": INDEX}
    with pytest.raises((ValueError, RuntimeError), match=re.escape(words)):
        forced.run(name, *(given | changed).values(), 0)


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("nearest_scores", (QUERY, GALLERY, NORMS, 6, 0, 0), "k is 6 but this block has 5 rows"),
        (
            "gradient_gram_factors",
            (torch.ones((2, 3, 4)).double(), torch.ones((2, 3, 4)), False, torch.zeros(2, 2)),
            "must be float32",
        ),
        ("gradient_gram", (QUERY, False, torch.zeros((2, 2))), "must be contiguous and of"),
        ("gradient_sketch_sparse", (QUERY, 0, 0, torch.zeros((3, 4))), "one row per sample"),
        ("gradient_sketch_fold", (QUERY, 0, 0, torch.zeros((2, 4)).double()), "sketch must be"),
        (
            "rank_metrics_summary",
            (OFFSETS, INDEX, torch.zeros(3), 0),
            "junk must be contiguous and of the dtype",
        ),
    ],
)
def test_other_ops_refuse_what_the_kernels_cannot_read(forced, name, arguments, words):
    with pytest.raises((ValueError, RuntimeError), match=re.escape(words)):
        forced.run(name, *arguments)


def test_registered_ops_have_cuda_kernels_where_nvcc_built_them(native):
    if not native.build["cuda"].startswith("sm_"):
        pytest.skip(f"built without CUDA: {native.build['cuda']}")
    names = [name for name, op in OPS.items() if op.family or op.by_cpu]
    has = torch._C._dispatch_has_kernel_for_dispatch_key
    assert all(has(f"xferpipe::{name}", "CUDA") for name in names)
    assert native.cuda == {} or torch.cuda.is_available()


@pytest.fixture
def native():
    status = ops.native_status()
    if not status.loaded:
        pytest.skip(status.reason)
    return status


def test_doctor_says_per_gpu_what_runs_and_why(monkeypatch):
    pytest.importorskip("typer", reason="the command line needs typer")
    from xferpipe.cli import doctor

    lines = {"cuda:0": "A, sm_90a: ranking kernels", "cuda:1": "B: torch twins: too old"}
    asked = []

    def status(*, check_gpus=False):
        asked.append(check_gpus)
        return ops.NativeStatus(True, cuda=lines)

    monkeypatch.setattr(ops, "native_status", status)
    found = {f.part: (f.state, f.text) for f in doctor._kernels()}
    assert asked == [True]
    assert found["kernels on cuda:0"] == ("ok", lines["cuda:0"])
    assert found["kernels on cuda:1"] == ("note", lines["cuda:1"])
