"""What `--results` may name: tables, the results of a study, a folder with one study in it."""

from __future__ import annotations

import pytest

from xferpipe.cli.folders import tables_folder


@pytest.fixture
def study(tmp_path):
    """Make results of a finished study, with a space in the path, beside one that has begun."""
    tables = tmp_path / "my results" / "digits" / "tables"
    tables.mkdir(parents=True)
    (tables / "answers.parquet").touch()
    (tmp_path / "my results" / "begun" / "tables").mkdir(parents=True)
    return tmp_path / "my results" / "digits"


@pytest.mark.parametrize("given", [".", "tables", ".."])
def test_results_are_found_from_every_folder_that_means_them(study, given):
    assert tables_folder(study / given).resolve() == study / "tables"


def test_folder_of_one_job_that_holds_a_table_is_taken(study):
    job = study / "balance" / "digits"
    job.mkdir(parents=True)
    (job / "balance.parquet").touch()
    assert tables_folder(job) == job


def test_study_that_has_no_tables_yet_says_what_makes_them(study):
    with pytest.raises(FileNotFoundError, match="no tables here; `xferpipe run FOLDER`"):
        tables_folder(study.parent / "begun")


def test_results_that_are_not_there_name_the_nearest(study):
    with pytest.raises(FileNotFoundError, match=r"did you mean '.*results/digits'.*there are"):
        tables_folder(study.parent / "digit")


def test_results_far_from_any_study_say_what_to_give(tmp_path):
    with pytest.raises(FileNotFoundError, match="give the results of a study"):
        tables_folder(tmp_path / "a" / "b")


def test_results_that_are_a_file_are_refused(study):
    with pytest.raises(ValueError, match="is a file; give the folder"):
        tables_folder(study / "tables" / "answers.parquet")
