"""The loop: determinism, resume at any step, divergence, what is kept."""

from __future__ import annotations

import copy
import gc
import itertools
import weakref
from types import SimpleNamespace

import numpy
import pytest
import torch

from xferpipe.config.recipes import Recipe
from xferpipe.config.surgery import Lora, Surgery
from xferpipe.training import loop
from xferpipe.training.checkpoint import Checkpoint
from xferpipe.training.loop import fit
from xferpipe.training.step import Step
from xferpipe.zoo.surgery import operate

BASE = {"epochs": 3, "batch_size": 16, "lr": 0.05}
VARIANTS = {
    "plain": {},
    "adam": {"opt": "adam", "lr": 0.003},
    "augmented": {"horizontal_flip": 0.5, "crop_padding_px": 1, "mixup_alpha": 0.4},
    "ema": {"model_ema": True, "model_ema_decay": 0.9, "model_ema_steps": 2},
    "sam": {"algorithm": "sam"},
    "swa": {
        "algorithm": "swa",
        "swa": {"start_train_accuracy": 0.1, "anneal_epochs": 0, "epochs": 2, "lr": 0.01},
    },
    "rsgd": {"algorithm": "rsgd", "rsgd": {"replicas": 2}},
    "triplet": {"loss": "cross_entropy_triplet", "sampler": "pk"},
    "parts": {"micro_batch_size": 5},
    "steps": {"steps": 7, "lr_by": "step"},
}


class Killed(Exception):
    pass


class KilledAfter(Checkpoint):
    """Writes at every step and dies at one of them."""

    def __init__(self, path, steps: int) -> None:
        super().__init__(path, "job", interval_seconds=0)
        self.left = steps

    def write(self, state) -> None:
        super().write(state)
        self.left -= 1
        if self.left == 0:
            raise Killed


def figures(result) -> list[dict]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in result.rows]


@pytest.mark.parametrize("variant", VARIANTS)
def test_resume_at_any_step_gives_the_bits_of_an_undisturbed_run(model, data, tmp_path, variant):
    recipe = Recipe(**BASE | VARIANTS[variant])
    train, validation = data(40, recipe=recipe), data(20, recipe=recipe, seed=1)

    def run(checkpoint):
        network = model()
        return network, fit(network, recipe, train, validation, seed=5, checkpoint=checkpoint)

    undisturbed, expected = run(None)
    for kill in (1, 2, 4, 6):
        path = tmp_path / f"{kill}.pt"
        with pytest.raises(Killed):
            run(KilledAfter(path, kill))
        resumed, found = run(Checkpoint(path, "job", interval_seconds=1e9))
        assert figures(found) == figures(expected)
        assert found.kept_epoch == expected.kept_epoch
        for name, value in undisturbed.state_dict().items():
            assert torch.equal(value, resumed.state_dict()[name]), name


@pytest.mark.parametrize("variant", ["plain", "adam", "rsgd"])
def test_resume_from_buffers_in_another_memory_format_gives_the_same_bits(
    model, data, tmp_path, variant
):
    """A job may be interrupted on a GPU and go on where channels_last is left aside."""
    recipe = Recipe(**BASE | VARIANTS[variant], channels_last=False)
    undisturbed, path = model(), tmp_path / "checkpoint.pt"
    fit(undisturbed, recipe, data(40, recipe=recipe), None, seed=5)
    train = data(40, recipe=recipe)
    with pytest.raises(Killed):
        fit(model(), recipe, train, None, seed=5, checkpoint=KilledAfter(path, 4))

    def turned(value):
        if isinstance(value, dict):
            return {name: turned(part) for name, part in value.items()}
        if isinstance(value, list):
            return [turned(part) for part in value]
        if torch.is_tensor(value) and value.ndim == 4:
            return value.contiguous(memory_format=torch.channels_last)
        return value

    torch.save(turned(torch.load(path)), path)
    resumed, checkpoint = model(), Checkpoint(path, "job", interval_seconds=1e9)
    fit(resumed, recipe, data(40, recipe=recipe), None, seed=5, checkpoint=checkpoint)
    for name, value in undisturbed.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_two_runs_with_one_seed_are_equal_and_another_seed_differs(model, data):
    recipe = Recipe(**BASE)
    results = [fit(model(), recipe, data(), data(seed=1), seed=seed) for seed in (3, 3, 4)]
    assert figures(results[0]) == figures(results[1])
    assert figures(results[0]) != figures(results[2])


def test_every_step_of_every_epoch_draws_anew_and_alike_in_each_run(model, data):
    """Dropout and its kind draw from torch's global numbers in the forward pass."""

    def drawn(seed: int) -> list[float]:
        network, seen = model(), []
        network.conv1.register_forward_pre_hook(lambda *_: seen.append(torch.rand(1).item()))
        fit(network, Recipe(epochs=3, batch_size=16, select="last"), data(40), None, seed=seed)
        return seen

    first = drawn(5)
    assert len(set(first)) == len(first) == 9
    assert first == drawn(5)
    assert not set(first) & set(drawn(6))


def test_epochs_of_equal_figures_keep_the_first(model, data):
    """Of a rate of nothing all epochs are alike."""
    recipe = Recipe(epochs=3, batch_size=16, lr=1e-30, freeze_bn="all")
    result = fit(model(), recipe, data(), data(30, seed=1), seed=0)
    assert len({row["validation_loss"] for row in result.rows}) == 1
    assert result.kept_epoch == 1


def test_augmentation_of_a_step_is_that_of_its_number_in_the_run(model, data):
    """Noise on one batch of all images: the second epoch sees other images than the first."""
    recipe = Recipe(epochs=2, batch_size=12, noise_std=0.5, select="last")
    seen = []
    network = model()
    network.conv1.register_forward_pre_hook(lambda _, given: seen.append(given[0].sum().item()))
    fit(network, recipe, data(12, recipe=recipe), None, seed=0)
    whole = data(12, recipe=recipe)
    expected = [
        images.sum().item()
        for images, _ in whole.training([numpy.arange(12)] * 2, classes=3, seed=0, first_step=0)
    ]
    assert seen == pytest.approx(expected, rel=1e-4)
    assert abs(expected[0] - expected[1]) > 1


def test_seconds_of_training_are_without_those_of_validation(model, data, monkeypatch):
    """A clock that each look moves on by one: an epoch takes 2 ticks, training in it one."""
    ticks = itertools.count()
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: float(next(ticks))))
    result = fit(model(), Recipe(epochs=2, batch_size=40), data(40), data(20, seed=1), seed=0)
    assert (result.seconds, result.training_seconds) == (4.0, 2.0)


def test_loop_learns_colours_well(model, data):
    result = fit(
        model(), Recipe(epochs=6, batch_size=16, lr=0.1), data(90), data(30, seed=1), seed=0
    )
    assert result.rows[-1]["validation_accuracy"] > 0.9
    assert result.diverged is None


def test_best_epoch_is_kept_and_validated_by_accuracy(model, data):
    recipe = Recipe(epochs=5, batch_size=16, lr=0.3, lr_scheduler="constant")
    network = model()
    validation = data(30, seed=1)
    result = fit(network, recipe, data(), validation, seed=2)
    best = max(result.rows, key=lambda row: (row["validation_accuracy"], -row["validation_loss"]))
    assert result.kept_epoch == best["epoch"]
    from xferpipe.training.evaluate import evaluate

    again = evaluate(network, validation)
    assert again.loss == best["validation_loss"]


def test_a_rate_that_diverges_ends_the_run_with_a_reason(model, data):
    recipe = Recipe(epochs=5, batch_size=16, lr=1e20, momentum=0.0)
    network = model()
    result = fit(network, recipe, data(), data(seed=1), seed=0)
    assert "the loss is" in result.diverged
    assert len(result.rows) < 5
    assert all(torch.isfinite(value).all() for value in network.state_dict().values())


def test_gradient_parts_add_up_to_the_whole_batch(model, data):
    """Group norm sees images one by one, so parts change nothing but the order of sums."""
    results = []
    for size in (None, 3):
        network = model(norm="group")
        recipe = Recipe(epochs=1, batch_size=16, micro_batch_size=size, select="last")
        fit(network, recipe, data(), None, seed=0)
        results.append(network.state_dict())
    for name, value in results[0].items():
        assert torch.allclose(value, results[1][name], rtol=1e-4, atol=1e-6), name


def test_steps_end_a_run_in_the_middle_of_an_epoch(model, data):
    recipe = Recipe(batch_size=16, steps=4, epochs=99)
    result = fit(model(), recipe, data(40), None, seed=0)
    assert result.images == 40 + 16
    assert [row["epoch"] for row in result.rows] == [1, 2]


def test_training_to_an_accuracy_ends_with_the_epoch_that_reaches_it(model, data):
    recipe = Recipe(epochs=50, batch_size=16, lr=0.1, until_train_accuracy=0.8)
    result = fit(model(), recipe, data(90), None, seed=0)
    accuracies = [row["train_accuracy"] for row in result.rows]
    assert accuracies[-1] >= 0.8
    assert all(accuracy < 0.8 for accuracy in accuracies[:-1])


def test_sam_updates_statistics_once_a_step_and_steps_from_where_it_was(model, data):
    network, twin = model(), model()
    options = {"epochs": 1, "batch_size": 40, "select": "last", "momentum": 0.0}
    fit(network, Recipe(algorithm="sam", sam_rho=1e-9, **options), data(), None, seed=0)
    fit(twin, Recipe(**options), data(), None, seed=0)
    assert network.bn1.num_batches_tracked == 1
    # With a radius of nothing SAM is plain SGD.
    for name, value in twin.state_dict().items():
        assert torch.allclose(value, network.state_dict()[name], atol=1e-6), name


def test_sam_gradient_is_taken_at_the_perturbed_weights(model, data):
    """One step on one batch, by hand: w - lr grad L(w + rho g / |g|)."""
    recipe = Recipe(
        epochs=1,
        batch_size=12,
        momentum=0,
        weight_decay=0,
        lr=0.1,
        algorithm="sam",
        sam_rho=0.5,
        lr_scheduler="constant",
        select="last",
    )
    network, twin = model(norm="group"), model(norm="group")
    batch = data(12)
    fit(network, recipe, batch, None, seed=0)
    images, labels = next(batch.evaluation(12))

    def gradients():
        loss = torch.nn.functional.cross_entropy(twin(images), labels)
        return torch.autograd.grad(loss, list(twin.parameters()))

    first = gradients()
    norm = torch.sqrt(sum(g.square().sum() for g in first))
    start = [p.detach().clone() for p in twin.parameters()]
    with torch.no_grad():
        for p, g in zip(twin.parameters(), first, strict=True):
            p.add_(g * 0.5 / norm)
    second = gradients()
    for p, s, g in zip(network.parameters(), start, second, strict=True):
        assert torch.allclose(p, s - 0.1 * g, atol=1e-5)


@pytest.mark.parametrize("micro_batch_size", [None, 3])
def test_step_with_class_weights_follows_the_gradient_of_torchs_weighted_loss(
    model, data, micro_batch_size
):
    """Seven images, 3 2 2 a class: weights 7/9, 7/6, 7/6, whatever the parts of the batch."""
    recipe = Recipe(
        epochs=1,
        batch_size=7,
        micro_batch_size=micro_batch_size,
        momentum=0,
        weight_decay=0,
        lr=0.1,
        class_weights="balanced",
        lr_scheduler="constant",
        select="last",
    )
    network, twin = model(norm="group"), model(norm="group")
    batch = data(7)
    result = fit(network, recipe, batch, None, seed=0)
    images, labels = next(batch.evaluation(7))
    weights = torch.tensor([7 / 9, 7 / 6, 7 / 6])
    loss = torch.nn.functional.cross_entropy(twin(images), labels, weight=weights)
    assert result.rows[0]["train_loss"] == pytest.approx(loss.item(), rel=1e-5)
    gradients = torch.autograd.grad(loss, list(twin.parameters()))
    for p, s, g in zip(network.parameters(), twin.parameters(), gradients, strict=True):
        assert torch.allclose(p, s - 0.1 * g, atol=1e-6)


def test_class_weights_go_with_mixed_precision_and_soft_labels(model, data):
    recipe = Recipe(
        epochs=1, batch_size=8, class_weights="balanced", amp="bf16", mixup_alpha=0.2, lr=0.01
    )
    assert fit(model(), recipe, data(recipe=recipe), None, seed=0).diverged is None


def test_swa_average_is_the_mean_of_the_epochs_weights(model, data):
    """Rate, start and interval make every epoch after the first one of the averaged ones."""
    common = {"batch_size": 16, "lr": 0.02, "lr_scheduler": "constant", "select": "last"}
    ends = []
    for epochs in (2, 3):
        plain = model()
        fit(plain, Recipe(epochs=epochs, **common), data(), None, seed=0)
        ends.append(plain)
    averaged = model()
    swa = {"start_train_accuracy": 1e-9, "anneal_epochs": 0, "epochs": 2, "lr": 0.02}
    fit(averaged, Recipe(epochs=9, algorithm="swa", swa=swa, **common), data(), None, seed=0)
    for name, value in averaged.named_parameters():
        parts = [dict(end.named_parameters())[name] for end in ends]
        assert torch.allclose(value, (parts[0] + parts[1]) / 2, atol=1e-6), name
    # The statistics are those of the averaged weights on the training images.
    images = torch.cat([images for images, _ in data().evaluation(64)])
    with torch.no_grad():
        mean = averaged.conv1(images).mean((0, 2, 3))
    assert torch.allclose(averaged.bn1.running_mean, mean, atol=1e-5)


def test_ema_equals_torchvisions_recursion(model, data):
    recipe = Recipe(
        epochs=2,
        batch_size=20,
        model_ema=True,
        model_ema_decay=0.99,
        model_ema_steps=1,
        select="last",
    )
    network = model()
    fit(network, recipe, data(40), None, seed=0)
    # torchvision: alpha = (1 - decay) batch_size steps / epochs; the first update copies.
    alpha = min(1.0, 0.01 * 20 * 1 / 2)
    path = []
    for steps in range(1, 5):
        twin = model()
        cut = Recipe(
            **recipe.model_dump() | {"model_ema": False, "steps": steps, "lr_scheduler": "cosine"}
        )
        # The same schedule: epochs of the recipe, cut short.
        fit_cut(twin, cut, data(40), steps)
        path.append(copy.deepcopy(dict(twin.named_parameters())))
    average = {name: value.detach().clone() for name, value in path[0].items()}
    for weights in path[1:]:
        for name, value in weights.items():
            average[name] = (1 - alpha) * average[name] + alpha * value.detach()
    for name, value in network.named_parameters():
        assert torch.allclose(value, average[name], atol=1e-5), name


def fit_cut(network, recipe, train, steps):
    """Run the first steps of a two-epoch schedule of two steps each."""
    full = Recipe(**recipe.model_dump() | {"steps": None})

    class Cut:
        def __init__(self, inner):
            self.inner = inner

        def __len__(self):
            return 2

        def batches(self, epoch, start=0):
            done = epoch * 2 + start
            return itertools.islice(self.inner.batches(epoch, start), max(0, steps - done))

    from xferpipe.datasets.samplers import sampler
    from xferpipe.training.loop import _Run

    order = Cut(sampler(full, train.labels.numpy(), seed=0))
    run = _Run(network, full, train, None, 0, None, order)
    from xferpipe.training.progress import _Nothing

    while run.epoch * 2 < steps:
        run.one_epoch(_Nothing())


def test_lora_trains_updates_and_head_alone(model, data):
    network = model()
    before = copy.deepcopy(network.state_dict())
    surgery = Surgery(lora=Lora(rank=2, kinds=("convolution",)))
    operate(network, surgery, outputs=3, seed=0)
    recipe = Recipe(
        epochs=2, batch_size=8, lr=0.1, train_layers=("head", "adapters"), select="last"
    )
    fit(network, recipe, data(), None, seed=0)
    state = network.state_dict()
    for name, value in before.items():
        original = name.replace(".weight", ".parametrizations.weight.original")
        if original != name and original in state:
            assert torch.equal(state[original], value)
    up = state["layer1.0.conv1.parametrizations.weight.0.up"]
    assert up.abs().max() > 0


def test_distance_is_that_of_the_trained_weights(model, data):
    network = model()
    start = [p.detach().clone() for p in network.parameters()]
    result = fit(network, Recipe(epochs=1, batch_size=16, select="last"), data(), None, seed=0)
    squares = sum(
        (p.detach() - s).double().square().sum()
        for p, s in zip(network.parameters(), start, strict=True)
    )
    assert result.rows[-1]["distance"] == pytest.approx(squares.sqrt().item())


def test_distance_leaves_normalisation_parameters_out_of_its_other_form(model, data):
    """With the weights of all else frozen, what is left is exactly the parameters that moved."""
    network = model()
    result = fit(
        network,
        Recipe(epochs=1, batch_size=16, select="last", train_layers=("norm",)),
        data(),
        None,
        seed=0,
    )
    assert result.rows[-1]["distance"] > 0
    assert result.rows[-1]["distance_without_normalisation"] == 0
    network = model()
    start = {name: p.detach().clone() for name, p in network.named_parameters()}
    result = fit(network, Recipe(epochs=1, batch_size=16, select="last"), data(), None, seed=0)
    squares = sum(
        (p.detach() - start[name]).double().square().sum()
        for name, p in network.named_parameters()
        if "bn" not in name and "downsample.1" not in name
    )
    row = result.rows[-1]
    assert row["distance_without_normalisation"] == pytest.approx(squares.sqrt().item())
    assert row["distance_without_normalisation"] < row["distance"]


def test_distance_of_averaged_weights_is_that_of_the_average(model, data):
    network = model()
    start = [p.detach().clone() for p in network.parameters()]
    recipe = Recipe(epochs=2, batch_size=16, select="last", model_ema=True, model_ema_decay=0.9)
    result = fit(network, recipe, data(), None, seed=0)
    squares = sum(
        (p.detach() - s).double().square().sum()
        for p, s in zip(network.parameters(), start, strict=True)
    )
    assert result.rows[-1]["distance"] == pytest.approx(squares.sqrt().item())


def test_bf16_and_channels_last_train_as_well(model, data):
    recipe = Recipe(epochs=4, batch_size=16, lr=0.1, amp="bf16", channels_last=True)
    result = fit(model(), recipe, data(90), data(30, seed=1), seed=0)
    assert result.rows[-1]["validation_accuracy"] > 0.8
    assert numpy.isfinite(result.rows[-1]["train_loss"])


def test_run_leaves_no_copies_of_the_weights_behind(model, data, monkeypatch):
    """A job that fits many models would hold copies of each until the garbage is collected."""
    made = []
    monkeypatch.setattr(loop, "Step", lambda *given: made.append(Step(*given)) or made[-1])
    gc.disable()
    try:
        loop.fit(model(), Recipe(epochs=1, batch_size=16), data(), None, seed=0)
        left = [weakref.ref(made.pop())]
        assert left[0]() is None
    finally:
        gc.enable()


def test_fused_optimiser_steps_as_the_plain_one_does(model, data):
    states = []
    for fused in (False, True):
        network = model()
        recipe = Recipe(epochs=1, batch_size=16, fused=fused, select="last")
        fit(network, recipe, data(), None, seed=0)
        states.append(network.state_dict())
    for name, value in states[0].items():
        assert torch.allclose(value, states[1][name], atol=1e-5), name


@pytest.mark.parametrize("loss", ["cross_entropy", "cross_entropy_triplet"])
def test_compiled_model_trains_as_the_plain_one_does(model, data, monkeypatch, loss):
    """The graphs are captured for real and run eagerly: no C++ compiler is needed here."""
    import torch._dynamo

    captured = []

    def eager(graph, inputs):
        captured.append(graph)
        return graph.forward

    compiled = torch.compile
    monkeypatch.setattr(torch, "compile", lambda network: compiled(network, backend=eager))
    states = []
    for flag in (False, True):
        network = model()
        recipe = Recipe(epochs=1, batch_size=20, compile=flag, select="last", loss=loss)
        fit(network, recipe, data(), None, seed=0)
        states.append(network.state_dict())
    torch._dynamo.reset()
    assert captured
    for name, value in states[0].items():
        assert torch.allclose(value, states[1][name], atol=1e-5), name
