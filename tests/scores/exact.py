"""Closed-form scores written out in float64, from features less their mean where that is allowed.

Each takes float64 features and labels 0, 1, ... and shares no code with `xferpipe.scores`. Where a
definition would lose digits to a large common part, the same quantity is taken in a form that does
not: singular values of the features for those of their Gram matrix, squared distances of unit rows
for 1 less their product, channels brought to one size for scores that do not feel it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy
import scipy.linalg
import scipy.optimize
import scipy.spatial
import scipy.special
import scipy.stats
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

Array = numpy.ndarray


def centred(f: Array) -> Array:
    """Take the mean away twice: the first leaves its own rounding."""
    f = f - f.mean(axis=0)
    return f - f.mean(axis=0)


def hot(y: Array) -> Array:
    return numpy.eye(y.max() + 1)[y]


def sizes(y: Array) -> Array:
    return numpy.bincount(y)


def class_means(f: Array, y: Array) -> Array:
    return numpy.array([f[y == c].mean(axis=0) for c in range(y.max() + 1)])


def lfc(f: Array, y: Array) -> dict[str, float]:
    kernel = numpy.where(y[:, None] == y, 1.0, -1.0)
    # x = m + r, a = r m: T = r r' + a 1' + 1 a' + m m, and a constant correlates with nothing.
    mean, rest = f.mean(axis=0), centred(f)
    along = rest @ mean
    gram = rest @ rest.T
    moved = gram + along[:, None] + along
    moved -= moved.mean()
    varying = kernel - kernel.mean()
    value = (moved * varying).sum() / numpy.sqrt((moved**2).sum() * (varying**2).sum())
    rows = kernel.sum(axis=1)
    whole = (gram * kernel).sum() + 2 * along @ rows + mean @ mean * kernel.sum()
    return {"": value, "unnormalised": whole}


def lfc_centered(f: Array, y: Array) -> float:
    rest = centred(f)
    kernel = numpy.where(y[:, None] == y, 1.0, -1.0)
    return numpy.corrcoef((rest @ rest.T).ravel(), kernel.ravel())[0, 1]


def feature_metrics(f: Array, y: Array) -> dict[str, float]:
    d = f.shape[1]
    channel = (centred(f) ** 2).mean()
    lengths = numpy.sqrt((f**2).sum(axis=1))
    parts = {
        "variance": channel / (f**2).mean(),
        "zeros": (f == 0).sum() / f.size,
        "hoyer": ((d**0.5 - abs(f).sum(axis=1) / lengths) / (d**0.5 - 1)).mean(),
    }
    return {"": sum(parts.values()), **parts, "channel_variance": channel}


def h_score(f: Array, y: Array) -> float:
    """Between over total variance, summed over the directions of channels of one size."""
    rest = centred(f)
    rest = rest / rest.std(axis=0)
    means = class_means(rest, y)[y]
    if len(f) < 1000:
        return numpy.trace(numpy.linalg.pinv(rest, rcond=1e-9) @ means)
    return numpy.trace(scipy.linalg.lstsq(rest, means, lapack_driver="gelsy")[0])


def ledoit_wolf(rest: Array) -> float:
    """Ledoit and Wolf's own sums over images, of centred features."""
    n, d = rest.shape
    covariance = rest.T @ rest / n
    mean = numpy.trace(covariance) / d
    spread = ((covariance - mean * numpy.eye(d)) ** 2).sum()
    noise = sum(((numpy.outer(x, x) - covariance) ** 2).sum() for x in rest) / n**2
    return min(noise, spread) / spread


def h_score_regularized(f: Array, y: Array) -> float:
    rest = centred(f)
    n, d = rest.shape
    squares = (rest**2).sum(axis=1)
    covariance = rest.T @ rest / n
    if n * d * d < 1e8:
        shrinkage = ledoit_wolf(rest)
    else:
        mean = squares.mean() / d
        spread = (covariance**2).sum() - d * mean**2
        noise = ((squares**2).sum() / n - (covariance**2).sum()) / n
        shrinkage = min(noise, spread) / spread
    shrunk = (1 - shrinkage) * covariance
    shrunk += shrinkage * squares.mean() / d * numpy.eye(d)
    means = class_means(rest, y)
    weights = sizes(y) / n * (1 - shrinkage)
    size = 1 / numpy.sqrt(numpy.diagonal(shrunk))
    factor = scipy.linalg.cho_factor(shrunk * size[:, None] * size)
    white = scipy.linalg.cho_solve(factor, (means * size).T)
    return (weights * ((means * size) * white.T).sum(axis=1)).sum()


def singular(f: Array) -> Array:
    return scipy.linalg.svdvals(f)


def transrate(f: Array, y: Array) -> float:
    rest = centred(f)

    def rate(z: Array) -> float:
        return numpy.log1p(singular(z) ** 2 / (len(z) * 1e-4)).sum() / 2

    return rate(rest) - sum((y == c).mean() * rate(rest[y == c]) for c in range(y.max() + 1))


def gbc(f: Array, y: Array, spherical: bool) -> float:
    rest = centred(f)
    means = class_means(rest, y)
    variances = numpy.array(
        [numpy.maximum(rest[y == c].var(axis=0), 1e-4) for c in range(len(means))]
    )
    if spherical:
        variances = numpy.broadcast_to(variances.mean(axis=1, keepdims=True), variances.shape)
    total = 0.0
    for a, b in itertools.permutations(range(len(means)), 2):
        shared = (variances[a] + variances[b]) / 2
        distance = ((means[a] - means[b]) ** 2 / shared).sum() / 8
        ratio = shared / numpy.sqrt(variances[a] * variances[b])
        total += numpy.exp(-distance - numpy.log(ratio).sum() / 2)
    return -total


def dissimilarities(f: Array) -> Array:
    """1 - Pearson of all pairs of rows, as half the squared distance of their unit forms."""
    rows = f - f.mean(axis=1, keepdims=True)
    rows = rows / numpy.linalg.norm(rows, axis=1, keepdims=True)
    found = scipy.spatial.distance.pdist(rows, "sqeuclidean") / 2
    # What rounding leaves between equal ones is no order: of two features, all are 0 or 2.
    return numpy.round(found / found.max(), 11)


def zscored(f: Array) -> Array:
    rest = centred(f)
    return rest / rest.std(axis=0)


def parc(f: Array, y: Array) -> float:
    differ = (y[:, None] != y)[numpy.triu_indices(len(y), 1)]
    return 100 * scipy.stats.spearmanr(dissimilarities(zscored(f)), differ).statistic


def rsa(f: Array, y: Array, reference: Array) -> float:
    return scipy.stats.spearmanr(dissimilarities(f), dissimilarities(reference)).statistic


def rsa_zscored(f: Array, y: Array, reference: Array) -> float:
    return rsa(zscored(f), y, zscored(reference))


def discriminant(f: Array, y: Array, shrinkage: float | None = None) -> tuple[Array, float]:
    """Bayes' rule for Gaussians of one shrunk covariance, by distances from the classes' means.

    Solved in channels of one size: a covariance's inverse does not feel their units.
    """
    means = class_means(f, y)
    inner = f - means[y]
    covariance = inner.T @ inner / len(f)
    if shrinkage is None:
        largest = scipy.linalg.eigvalsh(covariance, subset_by_index=[len(covariance) - 1] * 2)[0]
        shrinkage = max(numpy.exp(-5 * largest), 1e-10)
    mean = numpy.trace(covariance) / len(covariance)
    covariance = (1 - shrinkage) * covariance + shrinkage * mean * numpy.eye(len(covariance))
    size = 1 / numpy.sqrt(numpy.diagonal(covariance))
    factor = scipy.linalg.cholesky(covariance * size[:, None] * size, lower=True)
    logs = numpy.empty((len(f), len(means)))
    for c, middle in enumerate(means):
        white = scipy.linalg.solve_triangular(factor, ((f - middle) * size).T, lower=True)
        logs[:, c] = numpy.log((y == c).mean()) - (white**2).sum(axis=0) / 2
    return scipy.special.softmax(logs, axis=1), shrinkage


def sfda(f: Array, y: Array) -> float:
    f = centred(f)
    chance, shrinkage = discriminant(f, y)
    sure = scipy.special.softmax(chance, axis=1)[numpy.arange(len(y)), y][:, None]
    means = class_means(f, y)
    others = numpy.array([numpy.delete(means, c, axis=0).mean(axis=0) for c in range(len(means))])
    moved = sure * f + (1 - sure) * others[y]
    return discriminant(moved, y, shrinkage)[0][numpy.arange(len(y)), y].mean()


def etran(f: Array, y: Array) -> dict[str, float]:
    top = f.max(axis=1)
    energy = top + numpy.log(numpy.exp(f - top[:, None]).sum(axis=1))
    chance = discriminant(centred(f), y)[0]
    return {
        "part=energy": energy.mean(),
        "part=discriminant": chance[numpy.arange(len(y)), y].mean(),
    }


def ncti(f: Array, y: Array) -> dict[str, float]:
    rest = centred(f)
    analysis = PCA(min(64, len(f) - 1, f.shape[1]), svd_solver="full")
    points = analysis.fit_transform(rest)
    shrinkage = float(numpy.exp(-analysis.explained_variance_[:32].sum()))
    options = {"solver": "eigen", "shrinkage": shrinkage} if shrinkage > 1e-10 else {}
    model = LinearDiscriminantAnalysis(**options)
    space = model.fit(points, y).transform(points)
    chance = model.predict_proba(points)
    nuclear = sum(singular(chance[y == c]).sum() for c in range(y.max() + 1))
    return {
        "part=seli": singular(space - space.mean(axis=0)).sum(),
        "part=nearest_center": chance[numpy.arange(len(y)), y].mean(),
        "part=variability": numpy.log(nuclear),
    }


def logme(f: Array, y: Array) -> float:
    """The largest density of each target over both precisions, from singular values of F itself."""
    n = len(f)
    left, values, _ = scipy.linalg.svd(f, full_matrices=False)
    values = values**2
    found = []
    for target in hot(y).T:
        squares = (left.T @ target) ** 2
        rest = max(target @ target - squares.sum(), 0) if len(values) < n else 0.0
        # Where features explain everything, single precision is what there is of them.
        rest = max(rest, 1e-12 * (target @ target)) if len(values) < n else rest

        def minus(log_ratio: float, squares: Array = squares, rest: float = rest) -> float:
            r = numpy.exp(log_ratio)
            noise = ((squares * r / (r + values)).sum() + rest) / n
            return (numpy.log(2 * numpy.pi * noise) + 1 + numpy.log1p(values / r).sum() / n) / 2

        grid = numpy.linspace(
            numpy.log(values[values > 0].min()) - 26, numpy.log(values.max()) + 26, 400
        )
        best = min(grid, key=minus)
        step = grid[1] - grid[0]
        run = scipy.optimize.minimize_scalar(
            minus, bounds=(best - step, best + step), method="bounded", options={"xatol": 1e-10}
        )
        found.append(-run.fun)
    return float(numpy.mean(found))


def published_logme(f: Array, y: Array) -> float:
    n = len(f)
    left, values, _ = scipy.linalg.svd(f, full_matrices=False)
    s = values**2
    found = []
    for t in hot(y).T:
        x = left.T @ t
        rest = max(t @ t - x @ x, 0)
        a = b = 1.0
        for _ in range(11):
            gamma = (s / (s + a / b)).sum()
            old = a / b
            length = (s * x**2 / (old + s) ** 2).sum()
            error = ((x * old / (old + s)) ** 2).sum() + rest
            a, b = gamma / (length + 1e-5), (n - gamma) / (error + 1e-5)
            if abs(a / b - old) <= 1e-3 * old:
                break
        variances = s / a + 1 / b
        density = numpy.log(variances).sum() + (n - len(s)) * numpy.log(1 / b)
        density += (x**2 / variances).sum() + rest * b + n * numpy.log(2 * numpy.pi)
        found.append(-density / 2 / n)
    return float(numpy.mean(found))


def folds(y: Array) -> Array:
    """Spread the images of each class evenly over as many folds as the largest class has."""
    counts = sizes(y)
    found = numpy.zeros(len(y), dtype=int)
    for c, count in enumerate(counts):
        found[y == c] = numpy.floor((numpy.arange(count) + 0.5) / count * counts.max() + 1e-9)
    return found


def knn(f: Array, y: Array) -> float:
    distance = scipy.spatial.distance.cdist(rest := centred(f), rest)
    out = folds(y)
    right = 0
    for i in range(len(y)):
        others = numpy.flatnonzero(out != out[i])
        near = others[numpy.argsort(distance[i, others], kind="stable")[:5]]
        votes = numpy.bincount(y[near], 1 / distance[i, near], minlength=y.max() + 1)
        right += votes.argmax() == y[i]
    return right / len(y)


def linear_probe(f: Array, y: Array) -> float:
    """Ridge regression fitted anew without each fold, in the dual form."""
    z = zscored(f)
    n = len(z)
    gram = z @ z.T
    rank = min(n - 1, z.shape[1])
    targets, out = hot(y), folds(y)
    best = numpy.inf, 0.0
    for penalty in 10.0 ** numpy.arange(-4, 5) * numpy.trace(gram) / rank:
        held = numpy.empty_like(targets)
        for fold in range(out.max() + 1):
            kept, left = numpy.flatnonzero(out != fold), numpy.flatnonzero(out == fold)
            rows = gram[:, kept] - gram[:, kept].mean(axis=1, keepdims=True)
            rows = rows - rows[kept].mean(axis=0)
            mean = targets[kept].mean(axis=0)
            inner = rows[kept] + penalty * numpy.eye(len(kept))
            held[left] = mean + rows[left] @ numpy.linalg.solve(inner, targets[kept] - mean)
        best = min(best, (((held - targets) ** 2).sum(), (held.argmax(axis=1) == y).sum() / n))
    return best[1]


def pactran(f: Array, y: Array) -> float:
    """Newton's steps to the minimum of the penalised loss, along the features' own directions."""
    rest = centred(f)
    n, d = rest.shape
    c = y.max() + 1
    prior = 100 / d
    left, values, _ = scipy.linalg.svd(rest, full_matrices=False)
    points = numpy.hstack([left * values, numpy.ones((n, 1))])
    penalty = numpy.append(numpy.full(len(values), 1 / prior), 0.0)
    targets, rows = hot(y), numpy.arange(n)

    def state(w: Array) -> tuple[float, Array, Array]:
        """Return the loss, p, and 1 - p as the sum of the others: near 1 it would lose digits."""
        logits = points @ w
        logits -= logits.max(axis=1, keepdims=True)
        raw = numpy.exp(logits)
        total = raw.sum(axis=1, keepdims=True)
        others = raw @ (1 - numpy.eye(c))
        loss = (penalty[:, None] * w**2).sum() / 2
        loss += numpy.log1p(others[rows, y] / raw[rows, y]).sum()
        return loss, raw / total, others / total

    k = points.shape[1]
    w = numpy.zeros((k, c))
    loss, chance, rest_of = state(w)
    # Steps in columns of one size: their curvatures differ by as much as the features' variances.
    scale = 1 / numpy.sqrt((points**2).sum(axis=0) * 0.25 + penalty)
    for _ in range(500):
        error = numpy.where(targets > 0, -rest_of, chance)
        gradient = points.T @ error + penalty[:, None] * w
        hessian = numpy.zeros((c, k, c, k))
        for i, j in itertools.product(range(c), repeat=2):
            bend = chance[:, i] * (rest_of[:, i] if i == j else -chance[:, j])
            hessian[i, :, j, :] = (points * bend[:, None]).T @ points
            if i == j:
                hessian[i, :, j, :] += numpy.diag(penalty)
        scales = numpy.tile(scale, c)
        matrix = hessian.reshape(c * k, c * k) * scales[:, None] * scales
        # The intercepts' common part is free.
        matrix += 1e-15 * numpy.trace(matrix) / len(matrix) * numpy.eye(len(matrix))
        step = scales * numpy.linalg.solve(matrix, scales * gradient.T.ravel())
        step = step.reshape(c, k).T
        size = 1.0
        while size > 1e-12 and (trial := state(w - size * step))[0] > loss:
            size /= 2
        if size <= 1e-12:
            break
        w, done = w - size * step, loss - trial[0] <= 1e-15 * loss
        loss, chance, rest_of = trial
        if done:
            break
    trace = ((rest**2).sum(axis=1) * (chance * rest_of).sum(axis=1)).mean()
    return -(loss / n + d * c / (2 * n) * numpy.log1p(n * prior * trace / (d * c)))


#: Scores of features and labels alone -> their values written out.
WRITTEN_OUT: dict[str, Callable[[Array, Array], float | dict[str, float]]] = {
    "lfc": lfc,
    "lfc_centered": lfc_centered,
    "feature_metrics": feature_metrics,
    "h_score": h_score,
    "h_score_regularized": h_score_regularized,
    "logme": lambda f, y: {"": logme(f, y), "published": published_logme(f, y)},
    "transrate": transrate,
    "gbc_diagonal": lambda f, y: gbc(f, y, False),
    "gbc_spherical": lambda f, y: gbc(f, y, True),
    "parc": parc,
    "sfda": sfda,
    "ncti": ncti,
    "etran": etran,
    "pactran": pactran,
    "knn": knn,
    "linear_probe": linear_probe,
}

#: Scores that read a small network's features too.
OF_PAIRS: dict[str, Callable[[Array, Array, Array], float]] = {
    "rsa": rsa,
    "rsa_zscored": rsa_zscored,
}
