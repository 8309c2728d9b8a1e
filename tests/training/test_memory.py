"""Running out of memory: smaller pieces, the same batch, and an end with advice."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from xferpipe.config.recipes import Recipe
from xferpipe.stages.gradients import gradient_gram_of, layer_gram
from xferpipe.training.checkpoint import Checkpoint
from xferpipe.training.evaluate import embed, evaluate
from xferpipe.training.loop import fit
from xferpipe.training.memory import PassMemoryError, Pieces, out_of_memory

BASE = {"epochs": 2, "batch_size": 16, "lr": 0.05}


def limited(network: torch.nn.Module, most: int, *, after: int = 0, say: Exception | None = None):
    """Let a model run out of memory, in its middle, on more than `most` images, from a call on."""
    calls = []

    def hook(module, inputs):
        calls.append(len(inputs[0]))
        if len(inputs[0]) > most and len(calls) > after:
            raise say or torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    # The last stage, behind batch norms that have taken the images in by then.
    network.layer3.register_forward_pre_hook(hook)
    network.calls = calls
    return network


def figures(result) -> list[dict]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in result.rows]


def assert_same(one, other) -> None:
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


@given(n=st.integers(1, 70), size=st.integers(1, 70))
def test_split_covers_the_batch_in_order_in_pieces_that_fit_and_differ_by_one(n, size):
    images = torch.arange(n)
    pieces = [piece for (piece,) in Pieces(size).split(images)]
    assert torch.equal(torch.cat(pieces), images)
    lengths = [len(piece) for piece in pieces]
    assert max(lengths) <= size
    assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"algorithm": "sam"},
        {"algorithm": "rsgd", "rsgd": {"replicas": 2}},
        {"opt": "adam", "lr": 0.003, "mixup_alpha": 0.3, "model_ema": True},
        {"channels_last": False},
    ],
)
def test_run_out_of_memory_equals_accumulation_with_the_size_that_was_found(
    model, data, options, caplog
):
    """16 images do not fit, nor 8; the bits are those of a run that was told 4."""
    recipe = Recipe(**BASE | options)
    found = limited(model(), 5)
    result = fit(found, recipe, data(44, recipe=recipe), data(10, seed=1), seed=3)
    told = model()
    smaller = Recipe(**BASE | options | {"micro_batch_size": 4})
    expected = fit(told, smaller, data(44, recipe=smaller), data(10, seed=1), seed=3)
    assert figures(result) == figures(expected)
    assert_same(found, told)
    assert [row["micro_batch_size"] for row in result.rows] == [4, 4]
    assert "memory ran out on 16 images at a time" in caplog.text
    assert "going on with 4" in caplog.text


def test_dropout_draws_are_repeated_after_memory_ran_out(model, data):
    def dropping():
        network = model()
        network.layer1.append(torch.nn.Dropout(0.5))
        return network

    found, told = limited(dropping(), 8), dropping()
    fit(found, Recipe(**BASE), data(44), None, seed=3)
    fit(told, Recipe(**BASE, micro_batch_size=8), data(44), None, seed=3)
    assert_same(found, told)


def test_resumed_run_keeps_the_size_that_was_found(model, data, tmp_path):
    """Memory runs out at the second step alone; killed later, the run goes on in small pieces."""

    class Killed(Exception):
        pass

    class AtFour(Checkpoint):
        left = 4

        def write(self, state) -> None:
            super().write(state)
            self.left -= 1
            if self.left == 0:
                raise Killed

    def run(network, checkpoint):
        return fit(network, Recipe(**BASE), data(44), None, seed=3, checkpoint=checkpoint)

    whole = limited(model(), 8, after=1)
    expected = run(whole, None)
    assert whole.calls[:4] == [16, 16, 8, 8]
    path = tmp_path / "checkpoint.pt"
    with pytest.raises(Killed):
        run(limited(model(), 8, after=1), AtFour(path, "job", interval_seconds=0))
    resumed = model()
    found = run(resumed, Checkpoint(path, "job", interval_seconds=1e9))
    assert figures(found) == figures(expected)
    assert_same(resumed, whole)


def test_evaluation_features_and_gradients_pass_smaller_pieces(model, data):
    network, images = model(), data(30)
    network.eval().requires_grad_(False)
    expected = (
        evaluate(network, images),
        embed(network, images),
        gradient_gram_of(network, images, "logit_sum", 0),
        layer_gram(network, images, "layer2"),
    )
    limited(network, 9)
    found = evaluate(network, images)
    assert torch.equal(found.predicted, expected[0].predicted)
    assert found.loss == pytest.approx(expected[0].loss, rel=1e-5)
    torch.testing.assert_close(found.probability_label, expected[0].probability_label)
    for found, wanted in zip(embed(network, images), expected[1], strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    gram = gradient_gram_of(network, images, "logit_sum", 0)
    torch.testing.assert_close(gram, expected[2], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(layer_gram(network, images, "layer2"), expected[3])


def test_memory_that_does_not_hold_one_image_is_an_error_that_says_what_to_lower(model, data):
    with pytest.raises(PassMemoryError, match=r"1 image at a time .*; lower the side"):
        fit(limited(model(), 0), Recipe(**BASE), data(), None, seed=0)


def test_loss_that_compares_images_is_not_split_by_itself(model, data):
    recipe = Recipe(**BASE, loss="cross_entropy_triplet", sampler="pk")
    with pytest.raises(PassMemoryError, match=r"12 images .* compares the images"):
        fit(limited(model(), 8), recipe, data(), None, seed=0)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (MemoryError(), True),
        (
            RuntimeError(
                "[enforce fail at alloc_cpu.cpp:132] err == 0. DefaultCPUAllocator: can't allocate "
                "memory: you tried to allocate 4096 bytes. Error code 12 (Cannot allocate memory)"
            ),
            True,
        ),
        (RuntimeError("posix_memalign failed:Cannot allocate memory (12)"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_errors_of_memory_are_told_from_others(error, expected):
    assert out_of_memory(error) is expected


def test_other_errors_are_not_retried(model, data):
    network = limited(model(), 8, say=RuntimeError("an error of another kind"))
    with pytest.raises(RuntimeError, match="of another kind"):
        fit(network, Recipe(**BASE), data(), None, seed=0)
    assert network.calls == [16]


REAL = """
import json, resource, sys
import torch
from tests.training.conftest import Held
import numpy
from xferpipe.config.jobs import ModelSpec
from xferpipe.config.recipes import Recipe
from xferpipe.training.labelled import LabelledImages
from xferpipe.training.loop import fit
from xferpipe.zoo.build import build_model

torch.set_num_threads(1)
# oneDNN's convolutions crash where its own memory is refused; torch's raise.
torch.backends.mkldnn.enabled = False
spec = ModelSpec(architecture="cifar_resnet8", width=16, mean=(0.5,) * 3, std=(0.25,) * 3)
draw = torch.Generator().manual_seed(0)
pixels = torch.randint(0, 256, (256, 3, 32, 32), generator=draw, dtype=torch.uint8)
labels = numpy.arange(256) % 4

def trained(count, **options):
    recipe = Recipe(epochs=1, batch_size=256, lr=0.01, select="last", **options)
    data = LabelledImages(Held(pixels), numpy.arange(count), labels[:count], spec,
                          torch.device("cpu"), recipe)
    model = build_model(spec, 4, seed=1)
    return fit(model, recipe, data, None, seed=0), model.state_dict()

trained(8)  # what is loaded at first use is loaded before the limit
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
limit = used + int(sys.argv[1]) * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
result, found = trained(256)
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
size = result.rows[-1]["micro_batch_size"]
_, expected = trained(256, micro_batch_size=size)
print(json.dumps([size, all(torch.equal(found[name], expected[name]) for name in found)]))
"""


def test_real_limit_of_memory_is_met_by_smaller_pieces(pytestconfig):
    """A process that may take 100 MiB more trains on 256 images, which want about 500 MiB."""
    done = subprocess.run(
        [sys.executable, "-c", REAL, "100"],
        cwd=pytestconfig.rootpath,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    size, same = json.loads(done.stdout.splitlines()[-1])
    assert 1 <= size < 256
    assert same
    assert "memory ran out on 256 images" in done.stderr
