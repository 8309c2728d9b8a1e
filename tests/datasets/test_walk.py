"""What is listed below a folder: every file once, nothing of systems, no circles."""

from __future__ import annotations

import pytest

from xferpipe.config.datasets import ImageFolder
from xferpipe.datasets.readers import image_folder
from xferpipe.datasets.walk import files_below, is_image


@pytest.fixture
def tree(tmp_path):
    for name in ("a/1.png", "a/deep/2.png", "b/3.png"):
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / name).touch()
    return tmp_path / "root"


WHOLE = ["a/1.png", "a/deep/2.png", "b/3.png"]


def test_plain_folders_are_listed_whole(tree):
    assert sorted(files_below(tree)) == WHOLE


@pytest.mark.parametrize(
    "name",
    [".ipynb_checkpoints/1.png", "._1.png", "__MACOSX/1.png", "@eaDir/1.png", "Thumbs.db"],
)
def test_what_systems_leave_is_passed_over(tree, name):
    (tree / "a" / name).parent.mkdir(exist_ok=True)
    (tree / "a" / name).touch()
    assert sorted(files_below(tree)) == WHOLE
    assert not is_image(f"a/{name.rpartition('/')[2]}") or "/" in name


@pytest.mark.parametrize("target", [".", "..", "../..", "deep", "../b"])
def test_link_to_a_folder_that_is_listed_anyway_adds_nothing(tree, target):
    (tree / "a" / "link").symlink_to(target)
    assert sorted(files_below(tree)) == WHOLE


def test_links_in_a_circle_outside_are_read_once(tree, tmp_path):
    other = tmp_path / "other"
    (other / "inner").mkdir(parents=True)
    (other / "4.png").touch()
    (other / "inner" / "back").symlink_to(other)
    (tree / "b" / "first").symlink_to(other)
    (tree / "b" / "second").symlink_to(other)
    assert sorted(files_below(tree)) == [*WHOLE, "b/first/4.png"]


def test_root_that_is_a_link_is_followed(tree, tmp_path):
    (tmp_path / "link").symlink_to(tree)
    assert sorted(files_below(tmp_path / "link")) == WHOLE


def test_link_to_itself_and_to_nothing_are_files_for_their_reader_to_complain_about(tree):
    (tree / "a" / "loop.png").symlink_to("loop.png")
    (tree / "a" / "gone.png").symlink_to("nowhere.png")
    assert sorted(files_below(tree)) == sorted([*WHOLE, "a/loop.png", "a/gone.png"])


@pytest.mark.parametrize("ending", [".jfif", ".AVIF", ".jp2", ".heic", ".PNG", ".tiff", ".webp"])
def test_endings_of_images_count_in_any_case(ending):
    assert is_image(f"a/b{ending}")


@pytest.mark.parametrize("name", ["a.txt", "a.jpg.txt", "jpg", "a.pdf", "a.eps", ".a.jpg", "a.svg"])
def test_other_names_are_no_images(name):
    assert not is_image(name)


def test_reader_and_fingerprint_see_the_same_files(tree):
    (tree / "a" / "link").symlink_to("../b")
    (tree / "b" / "notes.txt").touch()
    dataset = ImageFolder(root=tree)
    read = sorted(image_folder.read(dataset, root=tree, seed=0)["path"])
    assert read == WHOLE == sorted(image_folder.files(dataset))
    assert image_folder.passed_over(dataset, root=tree) == ["b/notes.txt"]
