"""Data sets: one reader each, and how its images are decoded."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import (
    Field,
    field_validator,
    model_validator,
)

from xferpipe.config.base import Block, GrownBlock, Place, place_fields
from xferpipe.config.decoding import USUAL, Decoding


class DatasetBlock(GrownBlock):
    """What every data set has, whatever its format."""

    later: ClassVar[tuple[str, ...]] = ("decoding", "unreadable", "draw_gallery")

    image_px: int = Field(
        32, ge=8, le=1024, description="Side in pixels that images are decoded to when packed."
    )
    pack: bool = Field(
        True, description="Decode once into a packed uint8 array; false decodes in every epoch."
    )
    fit: Literal["crop", "stretch"] = Field(
        "crop",
        description="`crop` resizes the shorter side and cuts the centre; `stretch` keeps all of "
        "the image and not its shape. Unset, a `table` of a retrieval target is stretched.",
    )
    test_fraction: float = Field(
        0.2, gt=0, lt=1, description="Part held out for testing where the format has no test split."
    )
    maximum_images_per_class: int | None = Field(
        None, ge=1, description="Keep at most this many images of a class and split (seeded)."
    )
    licence: str | None = Field(None, description="Licence of the images, shown beside results.")

    @property
    def read_as(self) -> Decoding:
        """What image files are read as; without meaning for images that are none."""
        return USUAL

    def class_sizes(self) -> dict[str, int] | None:
        """Return the images of each class, all splits together, where the study alone tells."""
        return None

    def training_images(self, validation_fraction: float) -> dict[str, int] | None:
        """Foretell the training images of each class after both hold-outs; None: not known yet.

        The manifest is what counts; this is for an error before any job starts.
        """
        sizes = self.class_sizes()
        if sizes is None:
            return None
        most = self.maximum_images_per_class
        after_test = {name: n - _held_out(n, self.test_fraction) for name, n in sizes.items()}
        kept = {name: n if most is None else min(n, most) for name, n in after_test.items()}
        return {name: n - _held_out(n, validation_fraction) for name, n in kept.items()}


def _held_out(count: int, fraction: float) -> int:
    return min(max(round(count * fraction), 1), count - 1) if fraction else 0


class PackedOnly(DatasetBlock):
    """Images that are no files: there is nothing to decode in every epoch."""

    pack: Literal[True] = Field(True, description="These images are no files: always packed.")


class FilesBlock(DatasetBlock):
    """What data sets of image files have."""

    decoding: Decoding = Field(USUAL, description="What the files are read as.")
    unreadable: Literal["error", "skip"] = Field(
        "error",
        description="Files that cannot be decoded: `error` lists them and stops; `skip` leaves "
        "them out and records each with the reason, and decodes every file once more to find them.",
    )

    @property
    def read_as(self) -> Decoding:
        """What image files are read as."""
        return self.decoding


#: Images of each digit in the UCI set.
_DIGITS = (178, 182, 177, 183, 181, 182, 181, 179, 174, 180)


class Digits(PackedOnly):
    """The UCI optical digits: 1,797 real 8 x 8 scans that ship with scikit-learn."""

    reader: Literal["digits"] = "digits"
    classes: tuple[int, ...] = Field(
        (0, 1, 2, 3, 4, 5, 6, 7, 8, 9), description="Digits to keep, in label order."
    )
    image_px: int = Field(16, ge=8, le=1024, description="Side in pixels after bilinear resizing.")

    @field_validator("classes")
    @classmethod
    def _digits(cls, classes: tuple[int, ...]) -> tuple[int, ...]:
        if unknown := [digit for digit in classes if not 0 <= digit <= 9]:
            raise ValueError(f"{unknown} are no digits; allowed: 0 to 9")
        if len(set(classes)) != len(classes) or len(classes) < 2:
            raise ValueError(f"{list(classes)}: two or more different digits are needed")
        return classes

    def class_sizes(self) -> dict[str, int]:
        """Return the images of each digit that is kept."""
        return {str(digit): _DIGITS[digit] for digit in self.classes}


class Generated(PackedOnly):
    """Images drawn by this package: sources near to and far from the targets."""

    reader: Literal["generated"] = "generated"
    kind: Literal["shapes", "textures", "letters"] = Field(description="What is drawn.")
    classes: int = Field(8, ge=2, le=26, description="Number of classes.")
    first_class: int = Field(
        0, ge=0, le=24, description="Class drawn for label 0, so that sets need not share classes."
    )
    images_per_class: int = Field(100, ge=4, description="Images drawn for each class.")
    image_px: int = Field(16, ge=8, le=1024, description="Side in pixels.")

    @model_validator(mode="after")
    def _drawable(self) -> Generated:
        if self.first_class + self.classes > 26:
            raise ValueError(
                f"first_class ({self.first_class}) and classes ({self.classes}) ask for class "
                f"{self.first_class + self.classes - 1}; allowed: 0 to 25"
            )
        return self

    def class_sizes(self) -> dict[str, int]:
        """Return the images drawn of each class."""
        return {
            f"{self.kind} {self.first_class + label}": self.images_per_class
            for label in range(self.classes)
        }


class RandomClasses(Block):
    """Some classes of a data set, drawn by a seed of their own; the manifest lists them."""

    random: int = Field(ge=2, description="Classes to draw; fewer are a part of more.")
    seed: int = Field(0, ge=0, description="Seed of the draw; the study's seed has no part in it.")


class NamedClasses(FilesBlock):
    """A data set that may be cut to some of its classes."""

    classes: tuple[str, ...] | RandomClasses | None = Field(
        None,
        description="Classes to keep, by name in label order, or `{random: 50, seed: 0}`; null: "
        "all.",
    )

    @field_validator("classes")
    @classmethod
    def _different(
        cls, classes: tuple[str, ...] | RandomClasses | None
    ) -> tuple[str, ...] | RandomClasses | None:
        if isinstance(classes, tuple) and (len(set(classes)) != len(classes) or len(classes) < 2):
            raise ValueError(f"{list(classes)}: two or more different classes are needed")
        return classes


class ImageFolder(NamedClasses):
    """One folder per class, with or without train, validation and test folders above them."""

    reader: Literal["image_folder"] = "image_folder"
    root: Place = Field(description="Folder that holds the class folders or the split folders.")


#: Classes of torchvision.datasets that read no files.
_WITHOUT_FILES = ("FakeData",)


class TorchvisionData(NamedClasses):
    """Any class of `torchvision.datasets`, by its name."""

    reader: Literal["torchvision"] = "torchvision"
    name: str = Field(description="Class name in torchvision.datasets, e.g. CIFAR10.")
    root: Place = Field(description="Folder that holds (or receives) the data.")
    download: bool = Field(
        False,
        description="Let torchvision fetch what is missing. "
        "Files below `root` are then not looked at for changes.",
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="Further arguments of the class, e.g. {year: '2019'}."
    )
    splits: dict[Literal["train", "validation", "test"], dict[str, Any]] | None = Field(
        None, description="Arguments that select each split; unset: those the class documents."
    )

    @property
    def reads_own_files(self) -> bool:
        """Tell whether the files below `root` must be there, and are looked at for changes."""
        return not self.download and self.name not in _WITHOUT_FILES


#: What the file of an image table may end in.
TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")


class DrawGallery(Block):
    """Query and gallery drawn from images of known identities."""

    queries: int = Field(1, ge=1, description="Queries of each identity and camera.")
    seed: int = Field(0, ge=0, description="Seed of the draw; the study's seed has no part in it.")


class ImageTable(NamedClasses):
    """A table of the user's own: path, split, and label or identity, camera and sequence."""

    reader: Literal["table"] = "table"
    path: Place = Field(
        description="CSV (commas, semicolons or tabs), TSV or Parquet file; image paths in it are "
        "relative to `root`."
    )
    root: Place = Field(Path("."), description="Folder that relative image paths start from.")
    draw_gallery: DrawGallery | None = Field(
        None,
        description="Draw query and gallery from the test images, or from `test_fraction` of the "
        "identities where no image has a split; null: the table has these splits.",
    )


class GeneratedVehicles(Block):
    """Rendered cars, written in a re-identification set's own layout."""

    train_identities: int = Field(12, ge=2, description="Vehicles in the training split.")
    test_identities: int = Field(8, ge=2, description="Vehicles in query and gallery.")
    cameras: int = Field(4, ge=2, le=99, description="Cameras, each with its own view and light.")
    images_per_camera: int = Field(3, ge=1, description="Images of a vehicle by one camera.")
    image_px: int = Field(32, ge=16, le=512, description="Side in pixels of the written JPEGs.")


class ReidentificationBlock(FilesBlock):
    """What the re-identification layouts share."""

    fit: Literal["crop", "stretch"] = Field(
        "stretch", description="As for every data set; the field stretches these crops."
    )
    root: Place | None = Field(None, description="Folder of the data set; unset when generated.")
    generate: GeneratedVehicles | None = Field(
        None, description="Write a rendered vehicle set in this layout and read that."
    )

    @model_validator(mode="after")
    def _one_origin(self) -> ReidentificationBlock:
        if (self.root is None) == (self.generate is None):
            raise ValueError("set exactly one of 'root' (a folder) and 'generate' (a rendered set)")
        return self


class Veri776(ReidentificationBlock):
    """VeRi-776: image_train, image_query, image_test; optional gt_index and jk_index."""

    reader: Literal["veri776"] = "veri776"


class Market1501(ReidentificationBlock):
    """Market-1501: bounding_box_train, query, bounding_box_test."""

    reader: Literal["market1501"] = "market1501"


class VehicleID(ReidentificationBlock):
    """VehicleID: list files; one random gallery image per identity, repeated and averaged."""

    reader: Literal["vehicleid"] = "vehicleid"
    test_list: int = Field(800, ge=1, description="Which test_list_<N>.txt to evaluate.")
    galleries: int = Field(10, ge=1, description="Random galleries that results are averaged over.")

    @model_validator(mode="after")
    def _list_is_written(self) -> VehicleID:
        if self.generate is not None and self.test_list != self.generate.test_identities:
            raise ValueError(
                f"test_list is {self.test_list}, but the generated set has "
                f"{self.generate.test_identities} test identities and lists those; set both alike"
            )
        return self


class IdentityBlock(FilesBlock):
    """What layouts of identities share that are never rendered."""

    fit: Literal["crop", "stretch"] = Field(
        "stretch", description="As for every data set; the field stretches these crops."
    )
    root: Place = Field(description="Folder of the data set.")


class DukeMTMC(IdentityBlock):
    """DukeMTMC-reID: bounding_box_train, query, bounding_box_test."""

    reader: Literal["dukemtmc"] = "dukemtmc"


class MSMT17(IdentityBlock):
    """MSMT17: list_train.txt, list_val.txt, list_query.txt, list_gallery.txt."""

    reader: Literal["msmt17"] = "msmt17"


class Cuhk03NP(IdentityBlock):
    """CUHK03 by the new protocol: detected and labeled, each with Market-1501's folders."""

    reader: Literal["cuhk03_np"] = "cuhk03_np"
    boxes: Literal["detected", "labeled"] = Field(
        "detected", description="Boxes of a detector, or of people."
    )


class IdentityFolder(IdentityBlock):
    """A folder an identity, or names that a pattern reads."""

    reader: Literal["identity_folder"] = "identity_folder"
    pattern: str | None = Field(
        None,
        description="Regular expression for a path below the split's folder, with groups identity "
        "and, where names say so, camera and sequence, as "
        r"`(?P<identity>\d+)_c(?P<camera>\d+)_.*`; null: the first folder is the identity.",
    )
    folders: dict[Literal["train", "test", "query", "gallery"], str] = Field(
        default_factory=dict,
        description="Folder of each split below `root`; none: no image has a split.",
    )
    draw_gallery: DrawGallery | None = Field(
        None,
        description="Draw query and gallery from the images of `test`, or from `test_fraction` of "
        "the identities where there are no `folders` (done there in any case).",
    )

    @field_validator("pattern")
    @classmethod
    def _reads_identities(cls, pattern: str | None) -> str | None:
        if pattern is None:
            return None
        try:
            groups = re.compile(pattern).groupindex
        except re.error as error:
            raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
        allowed = ("identity", "camera", "sequence")
        if "identity" not in groups or set(groups) - set(allowed):
            raise ValueError(
                f"{pattern!r} has groups {', '.join(groups) or '(none)'}; expected "
                "(?P<identity>...) and, where names say so, (?P<camera>...) and (?P<sequence>...)"
            )
        return pattern


Dataset = Annotated[
    Digits
    | Generated
    | ImageFolder
    | TorchvisionData
    | ImageTable
    | Veri776
    | Market1501
    | VehicleID
    | DukeMTMC
    | MSMT17
    | Cuhk03NP
    | IdentityFolder,
    Field(discriminator="reader"),
]

_BLOCKS = {block.model_fields["reader"].default: block for block in get_args(get_args(Dataset)[0])}


def with_any_place(content: dict[str, Any]) -> dict[str, Any]:
    """Return a data set of a slice, which has no places, with `.` where it needs one."""
    return dict.fromkeys(place_fields(_BLOCKS[content["reader"]]), ".") | content


#: Readers whose manifests have query and gallery splits.
RETRIEVAL_READERS = (
    "veri776",
    "market1501",
    "vehicleid",
    "dukemtmc",
    "msmt17",
    "cuhk03_np",
    "identity_folder",
    "table",
)
#: Readers whose manifests have class labels.
CLASSIFICATION_READERS = ("digits", "generated", "image_folder", "torchvision", "table")
