"""Files of other versions and authors: timm's own filters, torchvision's old names, positions."""

from __future__ import annotations

import logging

import pytest
import timm
import torch
from torchvision.models import VisionTransformer, densenet121, mnasnet0_5

from xferpipe.config.jobs import ModelSpec
from xferpipe.zoo.build import build_model
from xferpipe.zoo.conversions import in_torchvisions_names, timms_filter, with_positions
from xferpipe.zoo.origins import file_weights
from xferpipe.zoo.weights import load_model, save_weights


def spec(architecture: str) -> ModelSpec:
    return ModelSpec(architecture=architecture, width=16, mean=(0.5,) * 3, std=(0.5,) * 3)


def loaded(architecture, content, path):
    torch.save(content, path)
    return file_weights.load(spec(architecture), str(path))


def equal(model, state):
    own = model.state_dict()
    return own.keys() == state.keys() and all(torch.equal(own[name], state[name]) for name in own)


def of_facebook(state):
    """Give a ConvNeXt the names of its authors' files, which timm converts."""
    found = {}
    for name, value in state.items():
        name = name.replace("head.fc.", "head.").replace("head.norm.", "norm.")
        name = name.replace("stem.", "downsample_layers.0.").replace("conv_dw", "dwconv")
        name = name.replace("mlp.fc", "pwconv").replace(".blocks.", ".")
        if ".downsample." in name:
            _, stage, _, rest = name.split(".", 3)
            name = f"downsample_layers.{stage}.{rest}"
        found[name] = value
    return found


@pytest.mark.parametrize("beginning", ["", "module."])
def test_file_of_the_authors_is_converted_by_timms_own_filter(tmp_path, beginning):
    state = timm.create_model("convnext_atto", num_classes=7).state_dict()
    theirs = {f"{beginning}{name}": value for name, value in of_facebook(state).items()}
    assert not state.keys() & theirs.keys()
    model, about = loaded("timm:convnext_atto", {"model": theirs}, tmp_path / "w.pth")
    assert equal(model, state)
    assert about["source_classes"] == 7


def test_position_embeddings_of_another_side_are_resampled_as_timm_does(tmp_path, caplog):
    larger = timm.create_model("vit_tiny_patch16_224", img_size=384, num_classes=3)
    torch.nn.init.normal_(larger.pos_embed)
    with caplog.at_level(logging.INFO):
        model, _ = loaded("timm:vit_tiny_patch16_224", larger.state_dict(), tmp_path / "w.pth")
    expected = timm.layers.resample_abs_pos_embed(larger.pos_embed, (14, 14), (24, 24))
    assert torch.allclose(model.pos_embed, expected, atol=1e-6)
    assert "pos_embed resampled from (1, 577, 192) to (1, 197, 192) as timm does" in caplog.text
    assert torch.equal(model.blocks[3].attn.qkv.weight, larger.blocks[3].attn.qkv.weight)


def test_architectures_have_the_filter_that_timm_has_for_them():
    from timm.models import convnext, densenet

    assert timms_filter("resnet18") is None
    assert timms_filter("timm:resnet18") is None
    for name, module, function in (
        ("timm:convnext_atto", convnext, "checkpoint_filter_fn"),
        ("timm:densenet121", densenet, "_filter_torchvision_pretrained"),
    ):
        (kept,) = (cell.cell_contents for cell in timms_filter(name).__closure__)
        assert kept is getattr(module, function)


def test_filter_that_fails_on_a_file_leaves_it_as_it_is():
    convert = timms_filter("timm:convnext_atto")
    state = {"x.y": torch.ones(2, 2)}
    assert convert(state, build_model(spec("timm:convnext_atto"), 1)) == state


@pytest.mark.parametrize("architecture", ["densenet121", "timm:densenet121"])
def test_old_names_of_densenets_are_todays_for_files_too(tmp_path, architecture):
    made = densenet121() if architecture == "densenet121" else timm.create_model("densenet121")
    state = made.state_dict()
    old = {
        name.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): value
        for name, value in state.items()
        if "num_batches_tracked" not in name
    }
    assert any("denselayer1.norm.1.weight" in name for name in old)
    model, _ = loaded(architecture, {"state_dict": old}, tmp_path / "w.pth")
    for name, value in model.state_dict().items():
        assert name.endswith("num_batches_tracked") or torch.equal(value, state[name]), name


def small_transformer(side):
    return VisionTransformer(side, 8, 2, 2, 16, 32)


def test_old_names_of_vision_transformers_are_todays():
    """As torchvision's own model takes them: it renames when it loads."""
    made = small_transformer(32)
    old = {
        name.replace("mlp.0.", "mlp.linear_1.").replace("mlp.3.", "mlp.linear_2."): value
        for name, value in made.state_dict().items()
    }
    other = small_transformer(32)
    other.load_state_dict(old)
    found = in_torchvisions_names(old)
    assert found.keys() == made.state_dict().keys()
    assert all(torch.equal(found[name], value) for name, value in other.state_dict().items())


def test_positions_of_torchvisions_transformers_are_resampled_and_no_others():
    larger, model = small_transformer(64), small_transformer(32)
    torch.nn.init.normal_(larger.encoder.pos_embedding)
    found = with_positions(larger.state_dict(), model)
    own = larger.encoder.pos_embedding
    assert torch.equal(found["encoder.pos_embedding"][:, 0], own[:, 0])
    # Corners stay where corners are aligned: of 8 x 8 positions, and of 4 x 4.
    grid, smaller = own[0, 1:].reshape(8, 8, 16), found["encoder.pos_embedding"][0, 1:]
    smaller = smaller.reshape(4, 4, 16)
    for row, column in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        assert torch.allclose(smaller[row, column], grid[row, column], atol=1e-6)
    model.load_state_dict(found)
    same = small_transformer(32).state_dict()
    assert with_positions(same, model) is same


def test_model_that_asks_for_its_version_loads(tmp_path):
    """MNASNet refuses a state dict that does not say which version it is of."""
    state = mnasnet0_5().state_dict()
    model, about = loaded("mnasnet0_5", dict(state), tmp_path / "w.pth")
    assert equal(model, dict(state))
    assert about["source_classes"] == 1000
    save_weights(model, tmp_path / "w.safetensors")
    assert equal(load_model(spec("mnasnet0_5"), tmp_path / "w.safetensors"), dict(state))
