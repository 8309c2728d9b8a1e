"""What the picked run gets wrong, from its predictions."""

from __future__ import annotations

import base64
import io

import polars
import pytest
from PIL import Image
from sklearn.metrics import confusion_matrix

from xferpipe.records import result_files, write_table
from xferpipe.report import mistakes as module
from xferpipe.report.mistakes import mistakes
from xferpipe.report.page_evidence import load_page
from xferpipe.report.picked import picked_runs


@pytest.fixture(scope="module")
def evidence(full_study):
    job, tables, images = full_study
    return load_page(job, result_files(tables), images)


def predictions_of(evidence, target):
    (picked,) = (run for run in picked_runs(evidence) if run.target == target)
    return picked.of(evidence.predictions)


def test_of_predictions_only_the_picked_pairs_are_read(evidence, full_study):
    whole = polars.read_parquet(full_study[1] / "predictions.parquet")
    held = evidence.predictions
    assert 0 < held.height < whole.height
    assert held.select("target", "model", "recipe").unique().sort("target").rows() == [
        ("digits_few", "digits_low_resnet14", "gentle"),
        ("digits_high", "digits_low_resnet14", "gentle"),
    ]


def test_matrix_is_that_of_scikit_learn(evidence):
    rows = predictions_of(evidence, "digits_high")
    expected = confusion_matrix(rows["label"], rows["predicted"])
    found = mistakes(evidence)[0]
    assert [[count for count, _ in row.cells] for row in found.matrix] == expected.tolist()
    assert [row.recall for row in found.matrix] == pytest.approx(
        expected.diagonal() / expected.sum(axis=1)
    )
    wrong = int(expected.sum() - expected.trace())
    assert found.sentence == f"{wrong} of 100 test images are named wrong."


def test_worst_are_wrong_the_surest_first_and_shown_as_they_are(evidence, full_study):
    found = mistakes(evidence)[0]
    rows = predictions_of(evidence, "digits_high")
    wrong = rows.filter(polars.col("label") != polars.col("predicted"))
    surest = wrong["probability_predicted"].sort(descending=True).head(module.WORST)
    assert [image.probability for image in found.worst] == surest.to_list()
    by_path = {f"test/{row:03}.jpg": row for row in wrong["row"]}
    for image in found.worst:
        assert image.label != image.predicted
        data = base64.b64decode(image.source.split(",")[1])
        # Each image of the fixture is of one grey, its row.
        (low, high) = Image.open(io.BytesIO(data)).convert("L").getextrema()
        assert low == high == pytest.approx(by_path[image.path], abs=2)


def test_of_many_classes_the_pairs_are_listed(evidence, monkeypatch):
    monkeypatch.setattr(module, "MATRIX_CLASSES", 1)
    found = mistakes(evidence)[0]
    assert found.matrix == ()
    assert found.pairs[0][:2] == ("class 1", "class 0")
    counts = [count for *_, count, _ in found.pairs]
    assert counts == sorted(counts, reverse=True)


def test_of_a_ranked_target_queries_are_shown_from_the_worst(evidence):
    found = mistakes(evidence)[-1]
    assert found.place == "vehicles"
    figures = [float(ranked.heading.split()[-1]) for ranked in found.lists]
    assert figures == sorted(figures)
    first = evidence["retrieval_queries"].filter(
        target="vehicles", model="digits_low_resnet14", recipe="gentle", seed=0
    )
    wrong = (first["first_hit"] != 1).sum()
    assert found.sentence.startswith(f"{wrong} of 6 queries find another identity first.")


def test_predictions_that_somebody_edited_are_not_shown(full_study, tmp_path):
    job, tables, _ = full_study
    whole = polars.read_parquet(tables / "predictions.parquet")
    whole.write_parquet(tmp_path / "predictions.parquet")
    files = result_files(tables) | {"predictions": tmp_path / "predictions.parquet"}
    evidence = load_page(job, files, {})
    assert "edited by hand" in evidence.missing["predictions"]
    assert [found.place for found in mistakes(evidence)] == ["vehicles"]


def test_target_without_packed_images_shows_its_files(full_study, tmp_path):
    job, tables, images = full_study
    (tmp_path / "test").mkdir()
    rows = polars.read_parquet(images["digits_high"]["manifest"])
    for path in rows.filter(split="test")["path"]:
        Image.new("RGB", (40, 20), (250, 0, 0)).save(tmp_path / path)
    files = {"manifest": images["digits_high"]["manifest"], "images": None, "root": tmp_path}
    evidence = load_page(job, result_files(tables), {"digits_high": files})
    sources = [image.source for image in mistakes(evidence)[0].worst]
    assert all(source.startswith("data:image/jpeg") for source in sources)
    # A file that is gone costs its picture and nothing else.
    (tmp_path / mistakes(evidence)[0].worst[0].path).unlink()
    assert mistakes(evidence)[0].worst[0].source == ""


def test_write_table_of_no_predictions_gives_no_mistakes(full_study, tmp_path):
    job, tables, _ = full_study
    whole = polars.read_parquet(tables / "predictions.parquet")
    write_table("predictions", whole.clear(), tmp_path / "predictions.parquet")
    files = result_files(tables) | {"predictions": tmp_path / "predictions.parquet"}
    assert [found.place for found in mistakes(load_page(job, files, {}))] == ["vehicles"]
