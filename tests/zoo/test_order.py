"""Tensors matched by order: renamed files load, others are refused in a few words."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from xferpipe.config.jobs import ModelSpec
from xferpipe.zoo.build import build_model, outputs_of
from xferpipe.zoo.order import named_in_order, same_order
from xferpipe.zoo.origins import file_weights
from xferpipe.zoo.weights import WeightsError

SPEC = ModelSpec(architecture="cifar_resnet8", width=4, mean=(0.5,) * 3, std=(0.5,) * 3)


def renamed(state):
    """Return tensors under names of another program, in their order."""
    return {f"part{i}.{name.rpartition('.')[2]}": value for i, (name, value) in
            enumerate(state.items())}  # fmt: skip


def test_file_of_other_names_is_matched_where_the_study_says_so_and_told_of_where_not(tmp_path):
    model = build_model(SPEC, 5, seed=3)
    torch.save(renamed(model.state_dict()), tmp_path / "w.pth")
    with pytest.raises(WeightsError) as caught:
        file_weights.load(SPEC, str(tmp_path / "w.pth"))
    assert "same shapes in the same order as CifarResNet, names differ" in str(caught.value)
    assert "add `order: true`" in str(caught.value)
    assert "another architecture" not in str(caught.value)
    found, about = file_weights.load(SPEC, str(tmp_path / "w.pth"), order=True)
    assert about["source_classes"] == outputs_of(found) == 5
    for name, value in model.state_dict().items():
        assert torch.equal(found.state_dict()[name], value), name


@pytest.mark.parametrize("left_out", ["fc.", "num_batches_tracked"])
def test_classifier_and_counters_may_be_left_out(left_out):
    model = build_model(SPEC, 5, seed=3)
    kept = {name: value for name, value in model.state_dict().items() if left_out not in name}
    assert 0 < len(kept) < len(model.state_dict())
    assert list(named_in_order(renamed(kept), model)) == list(kept)


def test_names_that_fit_are_kept_whatever_the_order(tmp_path):
    """safetensors puts its tensors in an order of its own."""
    state = build_model(SPEC, 5, seed=3).state_dict()
    save_file({name: state[name] for name in sorted(state)}, tmp_path / "w.safetensors")
    found, _ = file_weights.load(SPEC, str(tmp_path / "w.safetensors"), order=True)
    for name, value in state.items():
        assert torch.equal(found.state_dict()[name], value), name


def test_other_shapes_are_refused_with_a_count_and_the_first_five(tmp_path):
    other = build_model(SPEC.model_copy(update={"width": 8}), 5)
    torch.save(renamed(other.state_dict()), tmp_path / "w.pth")
    with pytest.raises(WeightsError) as caught:
        file_weights.load(SPEC, str(tmp_path / "w.pth"), order=True)
    lines = str(caught.value).splitlines()
    # Every tensor but the counters of batch norms, which are scalars, and the classifier's bias.
    wide = sum(
        value.ndim > 0 and not name.endswith("fc.bias")
        for name, value in other.state_dict().items()
    )
    assert f"{wide} of {len(other.state_dict())} tensors differ in order" in lines[0]
    assert lines[1] == "  part0.weight (8, 3, 3, 3): expected conv1.weight (4, 3, 3, 3)"
    assert len(lines) == 1 + 5 + 1
    with pytest.raises(WeightsError, match="another architecture"):
        file_weights.load(SPEC, str(tmp_path / "w.pth"))


@pytest.mark.parametrize("change", ["last part", "swapped", "missing", "one more"])
def test_any_difference_is_found(change):
    model = build_model(SPEC, 5)
    state = list(renamed(model.state_dict()).items())
    if change == "last part":
        state[1] = ("part1.gamma", state[1][1])
    elif change == "swapped":
        state[0], state[1] = state[1], state[0]
    elif change == "missing":
        del state[0]
    else:
        state.append(("more.weight", torch.zeros(3)))
    assert not same_order(dict(state), model)
    with pytest.raises(ValueError, match="tensors differ in order"):
        named_in_order(dict(state), model)
