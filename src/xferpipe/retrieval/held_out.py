"""Validation of a retrieval target: images of held-out identities rank each other."""

from __future__ import annotations

import logging
from typing import Any

import numpy
import polars
import torch
from torch import nn

from xferpipe.config.retrieval import Retrieval
from xferpipe.retrieval.labels import Labels
from xferpipe.retrieval.outcomes import outcomes
from xferpipe.training.evaluate import Ranking, embed
from xferpipe.training.labelled import Labelled

_logger = logging.getLogger(__name__)

#: Columns of the manifest that say which images of an identity are junk for each other.
_GROUPS = {"same_camera": "camera", "same_sequence": "sequence"}


class HeldOut:
    """Ranks images of held-out identities: each is a query against all others.

    Args:
        images: Rows of table `manifest`, in the order of the images that are judged; each identity
            has two or more.
        options: Distance, average precision and junk rule. `index_lists` are of query and gallery
            images; here the camera rule stands for them.
        where: Name of the target for the log.

    Attributes:
        junk_rule: The rule in use: none where the rule of `options` leaves no query a positive.
    """

    def __init__(self, images: polars.DataFrame, options: Retrieval, *, where: str) -> None:
        self.images, self.options = images, options
        self.junk_rule = options.junk_rule
        if self.junk_rule == "index_lists":
            self.junk_rule = "same_camera"
        self.labels = _leave_self_out(images, _GROUPS.get(self.junk_rule))
        positives = self.positives()
        column = _GROUPS.get(self.junk_rule)
        if column is not None and (not images[column].count() or not positives.any()):
            _logger.warning(
                "%s: junk rule %s leaves no image of the %d held-out identities another one to "
                "find, or no %s is known; mAP of validation is without a junk rule",
                *(where, self.junk_rule, images["identity"].n_unique(), column),
            )
            self.junk_rule = "none"
            self.labels = _leave_self_out(images, None)
        elif not positives.all():
            _logger.info(
                "%s: %d of %d held-out images have no other to find by junk rule %s",
                *(where, int((positives == 0).sum()), len(positives), self.junk_rule),
            )

    def __call__(self, model: nn.Module, split: Labelled) -> Ranking:
        """Rank the images by a model's features; features that are not finite give no figure.

        Args:
            model: On the device of `split`.
            split: The images (n), in the order of the rows.
        """
        features, _ = embed(model, split)
        if not features.isfinite().all():
            return Ranking(torch.full((len(features),), torch.nan, dtype=torch.float64))
        found = outcomes(features, features, self.labels, self.options, reranked=(False,))
        return Ranking(torch.from_numpy(found[0].figures.ap))

    def positives(self) -> numpy.ndarray:
        """Count the images that each query should find, int64 (n)."""
        return self.labels.counts()[0]

    def queries(self, ranking: Ranking) -> list[dict[str, Any]]:
        """Return the rows of table `validation_queries`, without the columns that name the run."""
        table = self.images.select("row", "identity", "camera").with_columns(
            junk_rule=polars.lit(self.junk_rule),
            positives=polars.Series(self.positives()),
            ap=polars.Series(ranking.ap.numpy()).fill_nan(None),
        )
        return table.to_dicts()


def _leave_self_out(images: polars.DataFrame, group: str | None) -> Labels:
    """Return labels by which an image's junk is itself, and what the rule of a group names."""
    identity = images["identity"].to_numpy()
    values = [None] * len(images) if group is None else images[group].to_list()
    positives, junk = [], []
    members = {one: numpy.flatnonzero(identity == one) for one in numpy.unique(identity)}
    for query, (own, value) in enumerate(zip(identity, values, strict=True)):
        same = members[own]
        left_out = same == query
        if value is not None:
            left_out |= numpy.array([values[other] == value for other in same])
        positives.append(same[~left_out])
        junk.append(same[left_out])
    return Labels.of(identity, identity, junk_rule="index_lists", positives=positives, junk=junk)
