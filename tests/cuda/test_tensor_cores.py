"""The kernels on modelled tensor cores, which cut their sums off: see shim/tensor_core.h."""

import pytest
import torch

from xferpipe.ops import reference
from xferpipe.ops.cuda.verification import CHECKS

from .conftest import built, make_dispatcher

pytestmark = pytest.mark.slow
CPU = torch.device("cpu")
#: Products added at a time, and bits kept below float32's last one.
DEVICES = {"H100": (8, 2), "A100": (4, 1)}


@pytest.fixture(scope="module", params=DEVICES)
def run(tmp_path_factory, request):
    """Return a function that runs an op by its kernels, on a modelled device."""
    products, bits = DEVICES[request.param]
    defines = (f"-DXFERPIPE_TENSOR_CORE={products}", f"-DXFERPIPE_TENSOR_CORE_BITS={bits}")
    module = built(tmp_path_factory, f"cuda_shim_{request.param}", *defines)
    dispatcher = make_dispatcher(module)
    return lambda name, *arguments: dispatcher.kernel(name)(*arguments)


@pytest.mark.parametrize("family", CHECKS)
def test_self_check_of_a_device_passes(run, family):
    CHECKS[family](run, CPU)


def test_long_sums_of_positive_numbers_are_not_short(run):
    """Cut off at every step, this sum of 1,024 products would be short by 1e-5."""
    rows = torch.rand((64, 1024), generator=torch.Generator().manual_seed(0)) + 0.5
    found = torch.zeros((64, 64), dtype=torch.float64)
    expected = torch.zeros_like(found)
    run("gradient_gram", rows, found)
    reference.gradient_gram(rows, expected)
    error = ((found - expected) / expected).triu()
    assert error.abs().max() < 1e-6
