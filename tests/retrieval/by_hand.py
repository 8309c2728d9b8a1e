"""Rankings written out with sorted lists, to compare with."""


def ap_by_hand(features, identities, groups, *, kind="step"):
    """Return each image's average precision among the others; None without a positive."""
    found = []
    for query in range(len(identities)):
        others = [
            other
            for other in range(len(identities))
            if other != query
            and not (
                identities[other] == identities[query]
                and groups[query] is not None
                and groups[other] == groups[query]
            )
        ]
        distance = {i: ((features[i] - features[query]) ** 2).sum() for i in others}
        order = sorted(others, key=lambda i: (distance[i], i))
        places = [
            place
            for place, other in enumerate(order, start=1)
            if identities[other] == identities[query]
        ]
        precisions = []
        for hit, place in enumerate(places):
            here, before = (hit + 1) / place, hit / (place - 1) if place > 1 else 1.0
            precisions.append(here if kind == "step" else (here + before) / 2)
        found.append(sum(precisions) / len(precisions) if precisions else None)
    return found
