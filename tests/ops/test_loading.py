import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch


def run_python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


def test_native_status_without_extension_falls_back_with_printed_reason():
    code = (
        "import torch; from xferpipe import ops;"
        "print(ops.label_correlation(torch.tensor([[1.0], [0.0]]), [0, 1]));"
        "print(ops.native_status().loaded)"
    )
    done = run_python(code, XFERPIPE_NO_NATIVE="1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["0.5773502691896258", "False"]
    assert done.stderr.count("XFERPIPE_NO_NATIVE is set") == 1


TORCH_ALONE = r"""
import importlib.metadata, re, sys

import xferpipe
assert "torch" not in sys.modules

def plain(name):
    return re.sub(r"[-_.]+", "-", name).lower()

installed = {plain(one.name): one for one in importlib.metadata.distributions()}
allowed = ["torch"]
for name in allowed:  # grows by what each of them requires
    required = (installed[name].requires if name in installed else None) or []
    required = [plain(re.match(r"[\w.-]+", one)[0]) for one in required if "extra ==" not in one]
    allowed += [one for one in required if one not in allowed]
modules = importlib.metadata.packages_distributions().items()
refused = {module for module, owners in modules if not {*map(plain, owners)} & {*allowed}}
refused -= {"xferpipe"}
assert {"numpy", "polars", "pydantic", "torchvision"} <= refused

class Refusing:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in refused:
            raise ModuleNotFoundError(f"{name} is refused here", name=name)

sys.meta_path.insert(0, Refusing)
import torch
from xferpipe import ops

data = torch.randn(6, 40)
for kind in ("sparse", "srht", "rademacher", "gaussian"):
    ops.gradient_sketch(data, 8, kind=kind, seed=0)
ops.gradient_gram(data)
ops.label_correlation(data, torch.arange(6) % 2)
ops.nearest(data, data, 2)
ops.rank_metrics(data, data, torch.arange(6) % 2, torch.arange(6) % 2, junk_rule="none")
print("fine")
"""


@pytest.mark.parametrize("twins", ["", "1"], ids=["native", "twins"])
def test_package_needs_no_torch_and_ops_need_torch_alone(twins):
    """Every other library that is installed here is refused, NumPy too."""
    done = run_python(TORCH_ALONE, XFERPIPE_NO_NATIVE=twins)
    assert done.stdout.strip() == "fine", done.stderr


def test_package_attribute_that_is_no_subpackage_is_refused():
    import xferpipe

    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        xferpipe.nothing_of_the_kind  # noqa: B018


def test_native_status_names_build_and_dispatch(native):
    assert native.build["source_hash"]
    assert native.dispatch["instruction_set"] in native.build["compiled_instruction_sets"].split()
    assert native.reason is None


def test_extension_of_other_sources_is_refused_for_the_twins(native, tmp_path):
    """A pull that changes csrc/ leaves yesterday's build beside today's package."""
    root = Path(__file__).resolve().parents[2]
    shutil.copytree(
        root / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
    )
    shutil.copytree(root / "csrc", tmp_path / "csrc")
    code = (
        "import torch; from xferpipe import ops; print(ops.native_status().loaded);"
        "print(ops.label_correlation(torch.tensor([[1.0], [0.0]]), [0, 1]))"
    )
    as_built = run_python(code, PYTHONPATH=str(tmp_path / "src"))
    assert as_built.stdout.split()[0] == "True", as_built.stderr
    with (tmp_path / "csrc/core/matrix.h").open("a") as header:
        header.write("// pulled\n")
    changed = run_python(code, PYTHONPATH=str(tmp_path / "src"))
    assert changed.stdout.split() == ["False", "0.5773502691896258"], changed.stderr
    assert "make install" in changed.stderr


@pytest.mark.parametrize("isa", ["scalar", "avx2", "avx512"])
def test_instruction_sets_agree_with_the_definition(native, isa):
    """Each compiled set runs the sweep's hardest cases in its own interpreter."""
    if isa not in native.build["compiled_instruction_sets"].split():
        pytest.skip(f"{isa} is not compiled in on this machine")
    # torch's word, not ours: a dispatch that gives up a set which the processor has must fail.
    if isa == "avx512" and torch.backends.cpu.get_cpu_capability() != "AVX512":
        pytest.skip("this processor has no AVX-512: its kernels are compiled but do not run here")
    code = (
        "import torch; from xferpipe import ops;"
        f"assert ops.native_status().dispatch['instruction_set'] == '{isa}';"
        "g = torch.Generator().manual_seed(0);"
        "f = torch.randn((1100, 45), generator=g) + 0.5; y = torch.arange(1100) % 7;"
        "t = (f.double() @ f.double().T).flatten();"
        "k = (y[:, None] == y[None]).double().flatten();"
        "r = torch.corrcoef(torch.stack([t, k]))[0, 1].item();"
        "assert abs(ops.label_correlation(f, y) - r) < 1e-7;"
        "s = torch.randint(-2, 3, (700, 37), generator=g).float(); i = torch.arange(700) % 4;"
        "d = torch.cdist(s[:50].double(), s[50:].double(),"
        " compute_mode='donot_use_mm_for_euclid_dist').square().round();"
        "m = ops.rank_metrics(s[:50], s[50:], i[:50], i[50:], junk_rule='none');"
        "o = d.argsort(dim=1, stable=True); h = i[50:][o] == i[:50, None];"
        "p = (h.cumsum(1) / torch.arange(1, 651).double());"
        "a = (p * h).sum(1) / h.sum(1); assert torch.allclose(m.ap, a, rtol=1e-12);"
        "v, j = ops.nearest(s[:50], s[50:], 9); assert torch.equal(j, o[:, :9]); print('fine')"
    )
    done = run_python(code, XFERPIPE_ISA=isa)
    assert done.stdout.strip() == "fine", done.stderr
