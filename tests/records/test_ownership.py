"""Ownership: the process that started a job last stores its outputs, and no other."""

import multiprocessing
import os

import pytest

from xferpipe.records.ownership import Ownership, SupersededError, check_ownership


@pytest.fixture(autouse=True)
def no_owner(monkeypatch):
    monkeypatch.setenv("XFERPIPE_OWNER", "")


def test_owner_stores_and_leaves_nothing_behind(tmp_path):
    owner = Ownership(tmp_path / "owners" / "job")
    owner.take()
    check_ownership()
    with owner.held():
        pass
    assert list((tmp_path / "owners").iterdir()) == []


def test_process_that_was_superseded_is_refused(tmp_path):
    first, second = (Ownership(tmp_path / "job") for _ in range(2))
    first.take()
    second.take()
    for refused in (first.check, first.held().__enter__):
        with pytest.raises(SupersededError, match="later run"):
            refused()
    with second.held():
        pass


def test_process_whose_job_another_one_finished_is_refused(tmp_path):
    first, second = (Ownership(tmp_path / "job") for _ in range(2))
    first.take()
    second.take()
    with second.held():
        pass
    with pytest.raises(SupersededError), first.held():
        pass
    with pytest.raises(SupersededError):
        first.check()


def test_job_that_fails_while_it_stores_keeps_its_owner(tmp_path):
    owner = Ownership(tmp_path / "job")
    owner.take()
    with pytest.raises(OSError, match="full"), owner.held():
        raise OSError("full")
    owner.check()


def test_started_process_checks_for_the_job_that_started_it(tmp_path):
    Ownership(tmp_path / "job").take()
    handed = os.environ["XFERPIPE_OWNER"]
    check_ownership()
    Ownership(tmp_path / "job").take()
    os.environ["XFERPIPE_OWNER"] = handed
    with pytest.raises(SupersededError):
        check_ownership()


def test_outside_of_the_workflow_nothing_is_checked():
    check_ownership()


def _compete(place, number, stored):
    owner = Ownership(place)
    for turn in range(50):
        owner.take()
        try:
            with owner.held(), open(stored, "a") as file:
                # Two writes: another process in between would stand between them.
                file.write(f"{number}.{turn} ")
                file.flush()
                file.write(f"{number}.{turn}\n")
        except SupersededError:
            continue


def test_of_many_processes_at_once_one_stores_at_a_time(tmp_path):
    stored = tmp_path / "stored"
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=_compete, args=(tmp_path / "job", number, stored))
        for number in range(4)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    lines = stored.read_text().splitlines()
    assert lines
    assert all(len(set(line.split())) == 1 and len(line.split()) == 2 for line in lines)
