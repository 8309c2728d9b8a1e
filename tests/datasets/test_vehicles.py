"""Rendered vehicles: the same bits from a seed, identity apart from camera, three layouts."""

import hashlib
import subprocess
import sys

import numpy
import pytest
from PIL import Image

from xferpipe.config.datasets import GeneratedVehicles
from xferpipe.datasets.generated.vehicles import write
from xferpipe.datasets.generated.vehicles_drawing import BODIES, Car, View, draw

SMALL = GeneratedVehicles(train_identities=3, test_identities=2, cameras=3, images_per_camera=2)
LAYOUTS = ("veri776", "market1501", "vehicleid")


def files(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("layout", LAYOUTS)
def test_write_same_seed_writes_the_same_bytes(layout, tmp_path):
    for name, seed in (("one", 0), ("two", 0), ("other", 1)):
        write(layout, SMALL, tmp_path / name, seed)
    assert files(tmp_path / "one") == files(tmp_path / "two")
    one, other = files(tmp_path / "one"), files(tmp_path / "other")
    assert one.keys() == other.keys()
    assert all(one[name] != other[name] for name in one if name.endswith(".jpg"))


def test_write_more_identities_leaves_the_others_alone(tmp_path):
    """A smoke cut of a study sees the same vehicles."""
    write("vehicleid", SMALL, tmp_path / "small", 0)
    write("veri776", SMALL, tmp_path / "veri", 0)
    more = SMALL.model_copy(update={"train_identities": 4})
    write("veri776", more, tmp_path / "more", 0)
    veri, grown = files(tmp_path / "veri"), files(tmp_path / "more")
    train = [name for name in veri if name.startswith("image_train/")]
    assert len(train) == 3 * 3 * 2
    assert all(grown[name] == veri[name] for name in train)


def test_write_veri_counts_are_those_of_the_block(tmp_path):
    write("veri776", SMALL, tmp_path, 0)
    counts = {
        name: len(list((tmp_path / name).iterdir()))
        for name in ("image_train", "image_query", "image_test")
    }
    assert counts == {"image_train": 18, "image_query": 6, "image_test": 12}
    names = (tmp_path / "name_test.txt").read_text().split()
    assert names == sorted(path.name for path in (tmp_path / "image_test").iterdir())


def test_write_unknown_layout_names_the_three(tmp_path):
    with pytest.raises(ValueError, match="veri776, market1501, vehicleid"):
        write("cuhk03", SMALL, tmp_path, 0)


@pytest.mark.parametrize("px", [16, 32, 100])
def test_draw_any_size_shows_a_car_on_its_ground(px):
    image = numpy.asarray(draw(Car.of(0, 1), View.of(0, 1, 4, 1, 0), px))
    assert image.shape == (px, px, 3)
    assert image.std() > 10


def test_draw_identity_matters_more_than_the_moment():
    """One camera: two moments of one car lie nearer than two cars, on average."""
    pictures = {
        (identity, moment): numpy.asarray(
            draw(Car.of(0, identity), View.of(0, 1, 4, identity, moment), 32), dtype=float
        )
        for identity in range(12)
        for moment in range(2)
    }
    same = [abs(pictures[i, 0] - pictures[i, 1]).mean() for i in range(12)]
    other = [
        abs(pictures[i, 0] - pictures[j, 1]).mean() for i in range(12) for j in range(12) if i != j
    ]
    assert numpy.mean(same) < 0.8 * numpy.mean(other)


def test_car_fifty_identities_use_every_body_and_are_all_different():
    cars = [Car.of(0, identity) for identity in range(50)]
    assert {car.body for car in cars} == set(BODIES)
    assert len(set(cars)) == 50


def test_view_cameras_look_from_different_sides():
    yaws = [View.of(0, camera, 4, 0, 0).yaw for camera in range(4)]
    assert min(numpy.diff(sorted(yaws))) > 0.3


def test_write_imports_no_torch(tmp_path):
    """The generate rule costs a second, not four."""
    code = (
        "import sys\n"
        "from xferpipe.config.datasets import GeneratedVehicles\n"
        "from xferpipe.datasets.generated.vehicles import write\n"
        "write('veri776', GeneratedVehicles(train_identities=2, test_identities=2),"
        f" {str(tmp_path)!r}, 0)\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert Image.open(next((tmp_path / "image_train").iterdir())).size == (32, 32)
