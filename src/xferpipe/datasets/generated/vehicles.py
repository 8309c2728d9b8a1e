"""Write a rendered vehicle set in a re-identification set's own layout, for the real readers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from xferpipe.config.datasets import GeneratedVehicles
from xferpipe.datasets.generated.vehicles_drawing import Car, View, draw

#: Numbers below the VeRi-776 frame stamps of one vehicle: cameras see it one after the other.
_FRAMES_BETWEEN_CAMERAS = 400
_FRAMES_BETWEEN_IMAGES = 15


def write(reader: str, block: GeneratedVehicles, output: Path, seed: int) -> None:
    """Write a rendered vehicle set.

    The identities of the training split are numbered from 1 and those of the test split follow, so
    that no vehicle is in both. An image depends on the seed and its own numbers alone.

    Args:
        reader: Layout to write: veri776, market1501 or vehicleid.
        block: How many vehicles, cameras and images, and their size.
        output: Folder to write into; it is made when it is missing.
        seed: Seed of the set.
    Raises:
        ValueError: The layout is none of the three.
    """
    layouts = {"veri776": _Veri776, "market1501": _Market1501, "vehicleid": _VehicleID}
    if reader not in layouts:
        raise ValueError(
            f"vehicles cannot be written in the layout of {reader!r}; allowed: {', '.join(layouts)}"
        )
    layouts[reader](block, Path(output), seed).write()


class _Layout:
    """What the layouts share: which identities exist, and how one picture is written."""

    def __init__(self, block: GeneratedVehicles, output: Path, seed: int) -> None:
        self.block, self.output, self.seed = block, output, seed
        self.train = range(1, block.train_identities + 1)
        self.test = range(self.train.stop, self.train.stop + block.test_identities)

    def shots(self, identities: range) -> Iterator[tuple[int, int, int]]:
        """Yield (identity, camera, image): cameras from 1, images of one camera from 0."""
        for identity in identities:
            for camera in range(1, self.block.cameras + 1):
                for image in range(self.block.images_per_camera):
                    yield identity, camera, image

    def picture(self, path: str, identity: int, camera: int, image: int) -> None:
        """Draw one picture and write it as JPEG."""
        car = Car.of(self.seed, identity)
        view = View.of(self.seed, camera, self.block.cameras, identity, image)
        file = self.output / path
        file.parent.mkdir(parents=True, exist_ok=True)
        draw(car, view, self.block.image_px).save(file, format="JPEG", quality=92)

    def lines(self, path: str, lines: list[str]) -> None:
        """Write a list file."""
        file = self.output / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(f"{line}\n" for line in lines))


class _Veri776(_Layout):
    """Names `0002_c002_00030600_0.jpg`; queries are copies of gallery images; index lists."""

    def write(self) -> None:
        train = [self._place("image_train", *shot) for shot in self.shots(self.train)]
        gallery = list(self.shots(self.test))
        names = [self._place("image_test", *shot) for shot in gallery]
        queries = [shot for shot in gallery if shot[2] == 0]
        query_names = [self._place("image_query", *shot) for shot in queries]
        self.lines("name_train.txt", train)
        self.lines("name_test.txt", names)
        self.lines("name_query.txt", query_names)
        positives, junk = [], []
        for identity, camera, _ in queries:
            same = [at for at, shot in enumerate(gallery, start=1) if shot[0] == identity]
            positives.append([at for at in same if gallery[at - 1][1] != camera])
            junk.append([at for at in same if gallery[at - 1][1] == camera])
        self.lines("gt_index.txt", [" ".join(map(str, row)) for row in positives])
        self.lines("jk_index.txt", [" ".join(map(str, row)) for row in junk])

    def _place(self, folder: str, identity: int, camera: int, image: int) -> str:
        stamp = 1000 + _FRAMES_BETWEEN_CAMERAS * camera + _FRAMES_BETWEEN_IMAGES * image
        name = f"{identity:04d}_c{camera:03d}_{stamp:08d}_0.jpg"
        self.picture(f"{folder}/{name}", identity, camera, image)
        return name


class _Market1501(_Layout):
    """Names `1390_c1s6_017446_01.jpg`; separate queries, background (0) and leftovers (-1)."""

    def write(self) -> None:
        for shot in self.shots(self.train):
            self._place("bounding_box_train", *shot)
        for shot in self.shots(self.test):
            self._place("bounding_box_test", *shot)
        for identity in self.test:
            for camera in range(1, self.block.cameras + 1):
                # A query is a crop of its own, one more than the camera's gallery images.
                self._place("query", identity, camera, self.block.images_per_camera)
        for camera in range(1, self.block.cameras + 1):
            for name, identity in (("0000", self.test.stop), ("-1", self.test.stop + 1)):
                file = f"bounding_box_test/{name}_c{camera}s1_{self._frame(camera, 0):06d}_00.jpg"
                self.picture(file, identity, camera, 0)

    def _place(self, folder: str, identity: int, camera: int, image: int) -> None:
        name = f"{identity:04d}_c{camera}s1_{self._frame(camera, image):06d}_01.jpg"
        self.picture(f"{folder}/{name}", identity, camera, image)

    def _frame(self, camera: int, image: int) -> int:
        return _FRAMES_BETWEEN_CAMERAS * camera + _FRAMES_BETWEEN_IMAGES * image


class _VehicleID(_Layout):
    """Numbered images; identities stand in the list files alone."""

    def write(self) -> None:
        self.number = 0
        self.lines("train_test_split/train_list.txt", self._place(self.train))
        self.lines(
            f"train_test_split/test_list_{self.block.test_identities}.txt", self._place(self.test)
        )

    def _place(self, identities: range) -> list[str]:
        lines = []
        for identity, camera, image in self.shots(identities):
            self.number += 1
            self.picture(f"image/{self.number:07d}.jpg", identity, camera, image)
            lines.append(f"{self.number:07d} {identity}")
        return lines
