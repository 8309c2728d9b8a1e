"""The cost stage: what one image costs a zoo entry in use."""

from __future__ import annotations

import logging
from pathlib import Path

from xferpipe.config.jobs import CostJob
from xferpipe.records import frame, read_table, write_table
from xferpipe.training.compute import device_name, prepare
from xferpipe.zoo.build import replace_classifier
from xferpipe.zoo.cost import cost_of
from xferpipe.zoo.weights import load_model

log = logging.getLogger(__name__)


def cost(job: CostJob, *, card: Path, weights: Path, cost: Path) -> None:
    """Write the card of a zoo entry with what one image costs it.

    A model that takes no image of this side has no cost, and that is no error: recipes may give it
    another side.

    Args:
        job: The resolved slice.
        card: Table `zoo` of the entry, without a cost.
        weights: Weights of the entry.
        cost: Written: the same row with its cost.
    Raises:
        WeightsError: The weights do not fit the architecture.
    """
    device = prepare(job.device, job.compute_threads)
    model = load_model(job.spec, weights)
    # Columns of the card are of the model without its classifier, which the target replaces.
    replace_classifier(model, 0)
    measured = {
        "image_px": job.image_px,
        "device": device_name(device),
        "compute_threads": job.compute_threads,
    }
    try:
        measured |= cost_of(model.to(device), job.image_px)._asdict()
    except (RuntimeError, AssertionError, ValueError) as error:
        first = str(error).strip().partition("\n")[0] or type(error).__name__
        log.warning(
            "model %s cannot pass an image of %d px, so its cost stays unknown (%s)",
            *(job.model, job.image_px, first),
        )
    known = read_table("zoo", card, ours=True).row(0, named=True)
    write_table("zoo", frame("zoo", [known | measured]), cost)
