"""LFC from features, against the n x n definition and the identity in plain torch."""

import torch

from xferpipe import ops

from .common import Case


def naive(features, labels):
    """Correlate the n x n matrices, float32 as people write it."""
    theta = features @ features.T
    agreement = torch.where(labels[:, None] == labels, 1.0, -1.0)
    theta = theta - theta.mean()
    agreement = agreement - agreement.mean()
    return (theta * agreement).sum() / (theta.norm() * agreement.norm())


def identity(features, labels):
    """Use the closed form in plain torch: one d x d product and float64 reductions."""
    n = len(features)
    gram = (features.T @ features).double()
    sums = gram.new_zeros((int(labels.max()) + 1, features.shape[1]))
    sums.index_add_(0, labels, features.double())
    total, count = sums.sum(0).square().sum(), labels.bincount().double().square().sum()
    top = sums.square().sum() - total * count / n**2
    return top / ((gram.square().sum() - total**2 / n**2) * (count - count**2 / n**2)).sqrt()


def exact(features, labels):
    """Return the value in float64."""
    return float(identity(features.double(), labels))


def cases(size):
    """Return cases at two sizes; the note of each contender is its relative error."""
    out = []
    sizes = {"full": (5000, 20000), "quarter": (5000,), "quick": (600,)}
    for n in sizes[size]:
        d = 64 if size == "quick" else 2048
        generator = torch.Generator().manual_seed(0)
        labels = torch.randint(100, (n,), generator=generator)
        centre = torch.randn((100, d), generator=generator)
        features = torch.randn((n, d), generator=generator) + 0.7 * centre[labels] + 0.2
        contenders = {
            "ours": lambda f=features, y=labels: ops.label_correlation(f, y),
            "identity in torch": lambda f=features, y=labels: identity(f, y),
            "naive n x n in torch": lambda f=features, y=labels: naive(f, y),
        }
        truth = exact(features, labels)
        notes = {
            name: f"relative error {abs(float(function()) / truth - 1):.1e}"
            for name, function in contenders.items()
        }
        # The symmetric half is what has to be computed.
        operations = float(n) * d * (d + 1)
        out.append(Case(f"LFC, n {n}, d {d}", "ours", contenders, operations, notes=notes))
    return out
