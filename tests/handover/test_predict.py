"""Predictions of an exported model are those of the study that made it."""

import numpy
import polars
import pytest
import torch
from PIL import Image

from xferpipe.handover.bundle import read_bundle, write_bundle
from xferpipe.handover.predict import photographs, predict
from xferpipe.handover.winner import winner
from xferpipe.records import read_table

CPU = torch.device("cpu")


@pytest.fixture(scope="session")
def photos(finished_run, tmp_path_factory):
    """The study's images as files, named by their row."""
    folder = tmp_path_factory.mktemp("photos")
    packed = numpy.load(next(finished_run.results.glob("pack/digits/*.npy")))
    for row, pixels in enumerate(packed):
        Image.fromarray(pixels.transpose(1, 2, 0)).save(folder / f"{row:04}.png")
    return folder


def test_predictions_on_test_images_are_those_of_the_study(digits, tables, photos, tmp_path):
    write_bundle(digits, tmp_path / "out")
    found = predict(read_bundle(tmp_path / "out"), photographs(photos), device=CPU)
    run = {name: digits.run[name] for name in ("target", "shots", "model", "recipe", "seed")}
    told = read_table("predictions", tables / "predictions.parquet").filter(split="test", **run)
    assert told.height > 10
    ours = found[told["row"].to_list()]
    names = ("5", "6", "7")
    assert ours["predicted"].to_list() == [names[label] for label in told["predicted"]]
    difference = (ours["probability"] - told["probability_predicted"]).abs().max()
    assert difference < 1e-5
    assert (ours["probabilities"].list.sum() - 1).abs().max() < 1e-5
    assert ours["problem"].null_count() == ours.height


def test_photograph_that_cannot_be_decoded_is_a_row_and_no_end(digits, photos, tmp_path):
    write_bundle(digits, tmp_path / "out")
    folder = tmp_path / "new"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.jpg").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("not looked at")
    (folder / "deep" / "b.png").write_bytes((photos / "0000.png").read_bytes())
    found = predict(read_bundle(tmp_path / "out"), photographs(folder), device=CPU)
    assert [path.rsplit("/", 1)[1] for path in found["path"]] == ["a.jpg", "b.png"]
    assert found["problem"][0].startswith("cannot be decoded")
    assert found["predicted"].to_list()[0] is None
    assert found["predicted"][1] in ("5", "6", "7")


def test_folder_of_damaged_photographs_is_all_problems(digits, tmp_path):
    write_bundle(digits, tmp_path / "out")
    (tmp_path / "a.png").write_bytes(b"")
    found = predict(read_bundle(tmp_path / "out"), [tmp_path / "a.png"], device=CPU)
    assert found.row(0)[1:] == (None, None, None, found["problem"][0])


def test_model_for_retrieval_gives_features(tables, photos, tmp_path):
    write_bundle(winner(tables, "vehicles"), tmp_path / "out")
    bundle = read_bundle(tmp_path / "out")
    assert bundle.about.task == "retrieval"
    found = predict(bundle, photographs(photos)[:3], device=CPU)
    assert found.columns == ["path", "feature", "problem"]
    assert found.schema["feature"] == polars.List(polars.Float32)
    assert found["feature"].list.len().to_list() == [16] * 3
    assert "finds identities again" in (tmp_path / "out" / "README.md").read_text()


def test_photographs_of_one_file_of_none_and_of_nowhere(photos, tmp_path):
    assert photographs(photos / "0000.png") == [photos / "0000.png"]
    with pytest.raises(ValueError, match="holds no image"):
        photographs(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such folder or image"):
        photographs(tmp_path / "nowhere")


def test_photographs_are_read_as_the_training_images_were(digits, tmp_path):
    """12-bit grey, transparency and a turned file: as `decode` reads them for the data set."""
    from dataclasses import replace

    from xferpipe.config.decoding import Decoding
    from xferpipe.datasets.decoding import decode
    from xferpipe.handover.predict import _decoded

    write_bundle(digits, tmp_path / "out")
    bundle = read_bundle(tmp_path / "out")
    assert bundle.about.preprocessing.decoding == Decoding()
    random = numpy.random.default_rng(0)
    deep = random.integers(0, 4096, (16, 16)).astype(numpy.uint16)
    Image.frombytes("I;16", (16, 16), deep.tobytes()).save(tmp_path / "deep.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    alpha = random.integers(0, 256, (16, 16, 4), dtype=numpy.uint8)
    Image.fromarray(alpha).save(tmp_path / "turned.png", exif=exif)
    paths = [tmp_path / "deep.png", tmp_path / "turned.png"]
    seen = []
    for how in (
        Decoding(),
        Decoding(window=(0, 4095), background="black", orientation="ignore"),
    ):
        preprocessing = bundle.about.preprocessing.model_copy(update={"decoding": how})
        ((_, images, problems),) = _decoded(paths, preprocessing)
        px = preprocessing.decoded_px
        wanted = numpy.stack([decode(path, px, preprocessing.fit, how) for path in paths])
        assert (images.numpy() == wanted).all()
        assert problems == [None, None]
        seen.append(images)
        about = bundle.about.model_copy(update={"preprocessing": preprocessing})
        assert predict(replace(bundle, about=about), paths, device=CPU)["problem"].null_count() == 2
    assert not torch.equal(*seen)
    small = bundle.about.preprocessing.model_copy(
        update={"decoding": Decoding(maximum_megapixels=0.0001)}
    )
    about = bundle.about.model_copy(update={"preprocessing": small})
    found = predict(replace(bundle, about=about), paths, device=CPU)
    assert "16 x 16 pixels, and decoding.maximum_megapixels allows 0.0001" in found["problem"][0]
