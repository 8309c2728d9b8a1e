"""Which device runs which kernels, the self-check, and the way back to the twins."""

import ctypes
import warnings

import pytest
import torch

from xferpipe import ops
from xferpipe.ops import reference
from xferpipe.ops.cuda import dispatch
from xferpipe.ops.cuda.launch import Launcher, Rows

from .conftest import BUILT, make_dispatcher

CPU = torch.device("cpu")
LAUNCHERS = (
    "squared_norms", "rank_metrics_counts", "rank_metrics_dense", "rank_metrics_scores",
    "nearest_scores", "symmetric", "gram_squares", "class_sums", "column_sums", "correlation",
    "gradient_sketch_hash", "gradient_sketch_sparse", "gradient_sketch_signs",
    "gradient_sketch_fold", "gradient_sketch_hadamard", "gradient_sketch_dense",
    "gradient_sketch_factor", "gradient_outer",
)  # fmt: skip


class Faulty:
    """The launchers with one of them replaced."""

    def __init__(self, module, name, replacement):
        self.module = module
        setattr(self, name, replacement)

    def __getattr__(self, name):
        return getattr(self.module, name)


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


def test_every_launcher_is_called_by_the_tests_below(shim):
    own = {name for name in dir(shim) if not name.startswith("_")} - {"symmetric_tiles"}
    assert own == set(LAUNCHERS)


def family_of_launcher(name):
    if name == "nearest_scores":
        return "nearest"
    if name == "squared_norms" or name.startswith("rank"):
        return "ranking"
    if name in ("symmetric", "gradient_outer"):
        return "gradient_gram"
    return "gradient_sketch" if name.startswith("gradient") else "label_correlation"


@pytest.mark.parametrize("name", LAUNCHERS)
def test_kernel_that_writes_nothing_is_found_out_and_warned_of_once(shim, name, monkeypatch):
    # Fresh memory is filled with NaN, as a device's would hold something else than the result.
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    dispatcher = make_dispatcher(Faulty(shim, name, lambda *given: None))
    family = family_of_launcher(name)
    try:
        with pytest.warns(RuntimeWarning, match=f"{family} kernels are not used on a stand-in"):
            assert not dispatcher.usable(family, CPU)
    finally:
        torch.use_deterministic_algorithms(before)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not dispatcher.usable(family, CPU)
    assert "torch twins (" in dispatcher.report(CPU)


def test_wrong_kernel_falls_back_to_a_right_result(shim):
    def wrong(rows, norms, stream):
        shim.squared_norms(rows, norms, stream)
        # 1e-9 off: less than any float32 rounding, more than a float64 sum.
        ctypes.c_double.from_address(norms).value *= 1 + 1e-9

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
        return shim.column_sums(*given)

    dispatcher = make_dispatcher(Faulty(shim, "column_sums", counted))
    sums = torch.zeros(3).double()
    dispatcher.run("column_sums", torch.ones((4, 3)), sums)
    checked = len(calls)
    dispatcher.run("column_sums", torch.ones((4, 3)), sums)
    assert sums.tolist() == [8.0] * 3
    assert len(calls) == checked + 1
    line = dispatcher.report(CPU)
    assert "sm_90a" in line
    assert "label_correlation kernels" in line
    assert "ranking checked at the first call" in line


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
    dispatcher = make_dispatcher(Faulty(shim, "nearest_scores", None))
    data = torch.randn((1500, 2), generator=torch.Generator().manual_seed(0))
    norms = reference.squared_norms(data)
    found = dispatcher.run("nearest_scores", data[:1], data, norms, 1200, 0, 0)
    assert found[1].shape == (1, 1200)


def test_launcher_refuses_what_the_kernels_cannot_read(shim):
    launch = Launcher(shim, device_type="cpu")
    data, norms = torch.ones((4, 6)), torch.zeros(4).double()
    for rows, out, words in (
        (data.t(), norms, "columns next to each other"),
        (data.double(), norms, "expected float32 or bfloat16"),
        (data, torch.zeros(8).double()[::2], "with gaps"),
        (data.to("meta"), norms, "on one cpu device"),
    ):
        with pytest.raises(ValueError, match=words):
            launch("squared_norms", Rows(rows), out)


def test_registered_ops_have_cuda_kernels_where_nvcc_built_them(native):
    if not native.build["cuda"].startswith("sm_"):
        pytest.skip(f"built without CUDA: {native.build['cuda']}")
    names = [*dispatch.FAMILY, *dispatch.ON_THE_CPU]
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
