"""The page's account of the images: counts, pictures, and what the checks found."""

from __future__ import annotations

import numpy
import polars
import pytest

from xferpipe.datasets.checks import DatasetError
from xferpipe.datasets.splits import training_rows, validation_rows
from xferpipe.records import RecordError, frame, result_files, write_table
from xferpipe.report import your_data as module
from xferpipe.report.page_evidence import load_page
from xferpipe.report.your_data import your_data


def evidence_of(full_study, **images):
    job, tables, files = full_study
    return load_page(job, result_files(tables), {**files, **images})


def test_counts_are_those_of_the_fine_tunes(full_study):
    evidence = evidence_of(full_study)
    found = your_data(evidence)[0]
    rows, target = evidence.images["digits_high"].rows, evidence.job.targets["digits_high"]
    trained = numpy.bincount(training_rows(rows, target, "full", 0).labels)
    held_out = numpy.bincount(validation_rows(rows, target, 0).labels)
    assert found.counts.rows() == [
        ("class 0", trained[0], held_out[0], 60),
        ("class 1", trained[1], held_out[1], 40),
    ]
    assert found.sentence.startswith("200 images of 2 classes, read as squares of 16 px: 80 to")
    assert found.classes[0].counts == f"{trained[0]} train, {held_out[0]} validation, 60 test"


def test_of_many_classes_some_are_shown_from_the_first_to_the_last(full_study):
    found = your_data(evidence_of(full_study))[2]
    names = [int(group.name) for group in found.classes]
    assert found.counts.height == 16
    assert len(names) == module.CLASSES_SHOWN
    assert names == sorted(names)
    assert all(1 <= len(group.pictures) <= module.PER_CLASS for group in found.classes)


def test_pictures_of_all_targets_are_bounded(full_study, monkeypatch):
    monkeypatch.setattr(module, "PICTURES", 12)
    found = your_data(evidence_of(full_study))
    assert sum(len(g.pictures) for one in found[:2] for g in one.classes) == 8
    assert sum(len(g.pictures) for g in found[2].classes) == 12  # one a class at least


def test_warnings_of_the_checks_stand_on_the_page(full_study, tmp_path):
    *_, images = full_study
    rows = polars.read_parquet(images["digits_high"]["manifest"])
    few = rows.filter((polars.col("label") == 0) | (polars.col("row") % 10 == 0))
    few = few.with_columns(row=polars.int_range(polars.len()))
    write_table("manifest", few, tmp_path / "manifest.parquet")
    numpy.save(tmp_path / "images.npy", numpy.zeros((few.height, 3, 16, 16), numpy.uint8))
    files = {"manifest": tmp_path / "manifest.parquet", "images": tmp_path / "images.npy"}
    (first, *_) = your_data(evidence_of(full_study, digits_high=files))
    assert first.warnings[0].startswith("class class 1 (4) has fewer than 10 training images")
    assert "class class 0 has 120 images and class class 1 has 8" in first.warnings[1]


def test_what_is_odd_of_files_and_copies_of_sources_stand_on_the_page(full_study, tmp_path):
    job, tables, images = full_study
    files = dict(images["digits_high"])
    rows = polars.read_parquet(files["manifest"])
    known = rows.with_columns(content=polars.col("row").cast(polars.String))
    write_table("manifest", known, tmp_path / "manifest.parquet")
    source = known.filter(split="test").head(7).with_columns(split=polars.lit("train"))
    other = (
        known.filter(split="train").head(7).with_columns(content=polars.lit(None, polars.String))
    )
    for name, part in (("source", source), ("other", other)):
        numbered = part.with_columns(row=polars.int_range(polars.len()))
        classes = numbered.with_columns(
            label=polars.col("row") % 2, class_name=polars.format("class {}", polars.col("row") % 2)
        )
        tested = classes.with_columns(
            split=polars.when(polars.col("row") < 2).then(polars.lit("test")).otherwise("split"),
        ).sort("split", descending=True)
        tested = tested.with_columns(row=polars.int_range(polars.len()))
        write_table("manifest", tested, tmp_path / f"{name}.parquet")
    found = [
        {"kind": "unreadable", "path": "a/1.jpg", "detail": "missing file"},
        {"kind": "orientation", "path": "a/2.jpg", "detail": "6"},
        {"kind": "read_as", "path": "mine.csv", "detail": "column camera: c1 is read as 1"},
    ]
    write_table("image_findings", frame("image_findings", found), tmp_path / "findings.parquet")
    files |= {"manifest": tmp_path / "manifest.parquet", "findings": tmp_path / "findings.parquet"}
    sources = {name: tmp_path / f"{name}.parquet" for name in ("source", "other")}
    evidence = load_page(job, result_files(tables), {**images, "digits_high": files}, sources)
    (first, *_) = your_data(evidence)
    told = "; ".join(first.warnings)
    assert "1 image is left out, as it cannot be decoded: a/1.jpg (missing file)" in told
    assert "1 image is turned as its EXIF tag says: a/2.jpg" in told
    assert "mine.csv: column camera: c1 is read as 1" in first.warnings
    assert "5 images, 5 of them among those that models are judged on, are exact copies" in told
    assert "source source" in told
    assert "source other" not in told


def test_images_of_another_manifest_are_refused(full_study, tmp_path):
    files = dict(full_study[2]["digits_high"])
    numpy.save(tmp_path / "images.npy", numpy.zeros((3, 3, 16, 16), numpy.uint8))
    with pytest.raises(DatasetError, match="3 images, but the manifest has 200"):
        evidence_of(full_study, digits_high=files | {"images": tmp_path / "images.npy"})
    with pytest.raises(DatasetError, match="no packed images"):
        evidence_of(full_study, digits_high=files | {"images": tmp_path / "none.npy"})
    with pytest.raises(RecordError, match="no such table"):
        evidence_of(full_study, digits_high=files | {"manifest": tmp_path / "none.parquet"})
