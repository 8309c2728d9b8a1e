"""The licences that bear on a choice: which there are, and whether one stands in the way."""

from __future__ import annotations

import re
from dataclasses import dataclass

from xferpipe.report.evidence import Evidence

#: Words of licences that allow no use in a product. Three are named alone: Apple's for machine
#: learning research, SEER's (research that is not commercial) and SWAG's (CC BY-NC 4.0).
_RESTRICTED = re.compile(
    r"\bNC\b|non[- ]?commercial|\bresearch\b|\bamlr\b|\bseer\b|\bSWAG\b|unknown", re.IGNORECASE
)


@dataclass(frozen=True)
class Licences:
    """What may be done with a fine-tuned model, as far as the study states it.

    Attributes:
        sentence: All licences.
        caution: Which of them stand in the way of a use in a product, or are unknown; or empty.
    """

    sentence: str
    caution: str


def licences_of(evidence: Evidence, target: str, model: str | None) -> Licences:
    """Name the licences of the weights, of their source's images and of the target's.

    Args:
        evidence: The study's tables.
        target: Name of the target.
        model: Zoo entry; None where no model is named.
    """
    images = evidence["targets"].filter(target=target)["licence"].drop_nulls()
    known = {"this target's images": images[0] if len(images) else None}
    zoo = evidence["zoo"].filter(model=model) if model is not None else evidence["zoo"].clear()
    troubles = []
    for card in zoo.iter_rows(named=True):
        found = {"the weights": card["licence"]}
        if card["source"] is not None:
            found["their source's images"] = card["source_licence"]
        elif card["licence"] is None and card["weights"] != "random":
            troubles.append("that of the weights is unknown: look before you share or sell")
        known = found | known
    troubles += [
        f"that of {of}, {name}, restricts the use"
        for of, name in known.items()
        if name is not None and _RESTRICTED.search(name)
    ]
    parts = [f"of {of}: {name or 'not stated'}" for of, name in known.items()]
    caution = f"Mind the licence: {'; '.join(troubles)}." if troubles else ""
    return Licences(f"Licence {'; '.join(parts)}.", caution)
