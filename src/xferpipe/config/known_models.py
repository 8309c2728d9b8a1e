"""What is known of a zoo entry's model: from the committed table, else from the library itself."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from xferpipe.config.catalogue import TIMM, Listed, catalogue, listed
from xferpipe.config.nearest import nearest, suggestion

if TYPE_CHECKING:
    from xferpipe.config.zoo import ZooEntry

#: ImageNet's channel means and deviations: for models of which nothing is known.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
#: Origins of weights that were trained with the preprocessing of the architecture's usual weights,
#: as far as anybody knows.
_OF_THE_ARCHITECTURE = ("file", "package")
_LIBRARIES = ("timm", "torchvision")


class UnknownModelError(ValueError):
    """No library has a model, or no weights, of a name."""


def preprocessing(entry: ZooEntry) -> dict[str, Any]:
    """Return how a model's images are prepared, what the entry leaves open filled in.

    Args:
        entry: A zoo entry.
    Returns:
        `mean`, `std`, `image_px` (None: the data set's), `crop_pct` and `interpolation`.
    """
    row = row_of(entry)
    pretrained = row is not None and entry.weights in (*_LIBRARIES, *_OF_THE_ARCHITECTURE)
    believed = row if pretrained else None
    mean, std = (believed and believed.mean) or MEAN, (believed and believed.std) or STD
    side, crop = entry.image_px, entry.crop_pct
    if side is None and row is not None and row.fixed:
        side = row.side
        crop = crop or (believed and believed.crop_pct)
    interpolation = entry.interpolation
    if side is not None and interpolation is None:
        interpolation = believed and believed.interpolation
    return {
        "mean": entry.mean or mean,
        "std": entry.std or std,
        "image_px": side,
        "crop_pct": crop or 1.0,
        "interpolation": interpolation or "bilinear",
    }


def row_of(entry: ZooEntry) -> Listed | None:
    """Return what is known of an entry's weights, or of its architecture; None: nothing."""
    try:
        return known(entry.architecture, entry.name if entry.weights in _LIBRARIES else None)
    except UnknownModelError:
        return None


@functools.cache
def known(architecture: str, weights: str | None = None) -> Listed | None:
    """Return what is known of a model.

    Args:
        architecture: As a study has it.
        weights: Tag of timm or weight name of torchvision; None: the usual ones.
    Returns:
        Its row of the table; where the table has none, what the installed library says. None for
        architectures of our own.
    Raises:
        UnknownModelError: The library has no such architecture, or no such weights of it.
    """
    from xferpipe.config.zoo import architecture_family

    if architecture_family(architecture) not in ("timm_models", "torchvision_models"):
        return None
    row = listed(architecture, weights)
    if row is not None:
        return row
    return (_of_timm if architecture.startswith(TIMM) else _of_torchvision)(architecture, weights)


def unknown(name: str, others: tuple[str, ...] = ()) -> str:
    """Return "'x' is unknown", with the nearest names that the table has.

    Args:
        name: An architecture as somebody wrote it, with `timm:` or without.
        others: Further names that are allowed where it stands.
    """
    names = dict.fromkeys(architecture for architecture, _ in catalogue())
    plain = [one for one in names if not one.startswith(TIMM)]
    found = [] if name.startswith(TIMM) else nearest(name, [*others, *plain])
    in_timm = [one.removeprefix(TIMM) for one in names if one.startswith(TIMM)]
    found += [f"{TIMM}{one}" for one in nearest(name.removeprefix(TIMM), in_timm)]
    return f"{name!r} is unknown;" + (f" did you mean {', '.join(found)}?" if found else "")


def _of_timm(architecture: str, weights: str | None) -> Listed:
    import timm

    from xferpipe.config.catalogue_sources import timm_row

    name, _, tag = architecture.removeprefix(TIMM).partition(".")
    if not timm.is_model(name):
        raise UnknownModelError(
            f"{unknown(architecture)} `xferpipe zoo list` shows the models that there are"
        )
    tag = weights or tag
    tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{name}.*")]
    if tag and tag not in tags:
        had = ", ".join(tags) or "none"
        near = suggestion(tag, tags)
        raise UnknownModelError(f"timm has no weights {tag!r} of {name}{near}; it has: {had}")
    config = timm.get_pretrained_cfg(f"{name}.{tag}" if tag else name)
    if config is None:
        return Listed(**dict.fromkeys(Listed.__dataclass_fields__) | {"side_step": 1})
    return timm_row(name, tag or config.tag or "", config, usual=not tag)


def _of_torchvision(architecture: str, weights: str | None) -> Listed:
    from torchvision import models

    from xferpipe.config.catalogue_sources import torchvision_rows

    if architecture not in models.list_models(module=models):
        raise UnknownModelError(
            f"{unknown(architecture)} `xferpipe zoo list` shows the models that there are"
        )
    rows = {row.weights: row for row in torchvision_rows(architecture)}
    if weights is not None and weights not in rows:
        near = suggestion(weights, rows)
        raise UnknownModelError(
            f"torchvision has no weights {weights!r} of {architecture}{near}; it has: "
            f"{', '.join(rows)}"
        )
    return rows[weights] if weights is not None else next(iter(rows.values()))
