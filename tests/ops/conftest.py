import pytest
import torch

from xferpipe import ops


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def native():
    """Skip with the loader's own reason where there is no extension."""
    status = ops.native_status()
    if not status.loaded:
        pytest.skip(status.reason)
    return status


@pytest.fixture(params=["native", "twin"])
def backend(request, monkeypatch):
    """Run a test on the kernels and on the torch twins."""
    from xferpipe.ops import loading

    if request.param == "native":
        if not ops.native_status().loaded:
            pytest.skip(ops.native_status().reason)
    else:
        monkeypatch.setattr(loading, "_load", lambda: (None, "a test asked for the twins"))
    return request.param
