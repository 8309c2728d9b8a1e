"""Every score against an independent reference: a library, or its definition written out."""

from __future__ import annotations

import itertools

import numpy
import pytest
import scipy.optimize
import scipy.special
import scipy.stats
from probe_data import CASES, Made
from sklearn.covariance import ledoit_wolf
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KNeighborsClassifier

from xferpipe import scores
from xferpipe.seeding import stream

pytestmark = pytest.mark.parametrize("data", CASES.values(), ids=CASES)


def close(value: float, expected: float) -> None:
    assert value == pytest.approx(expected, rel=1e-6, abs=1e-12)


def label_kernel(labels: numpy.ndarray) -> numpy.ndarray:
    return numpy.where(labels[:, None] == labels, 1.0, -1.0)


def test_lfc_against_all_pairs_is_their_pearson_correlation(data: Made) -> None:
    gram = data.features @ data.features.T
    kernel = label_kernel(data.labels)
    found = scores.lfc(data.features, data.labels)
    close(found[""], numpy.corrcoef(gram.ravel(), kernel.ravel())[0, 1])
    close(found["unnormalised"], (gram * kernel).sum())


def test_lfc_centered_against_all_pairs_is_their_pearson_correlation(data: Made) -> None:
    centred = data.features - data.features.mean(axis=0)
    expected = numpy.corrcoef((centred @ centred.T).ravel(), label_kernel(data.labels).ravel())
    close(scores.lfc_centered(data.features, data.labels), expected[0, 1])


def test_leep_against_loops_over_images_and_source_classes(data: Made) -> None:
    theta, y = data.source_probabilities, data.labels
    n, z = theta.shape
    joint = numpy.zeros((y.max() + 1, z))
    for i, k in itertools.product(range(n), range(z)):
        joint[y[i], k] += theta[i, k] / n
    total = 0.0
    for i in range(n):
        total += numpy.log(sum(joint[y[i], k] / joint[:, k].sum() * theta[i, k] for k in range(z)))
    close(scores.leep(theta, y), total / n)


def test_nce_against_conditional_entropy_of_counts(data: Made) -> None:
    top = data.source_probabilities.argmax(axis=1)
    table = numpy.zeros((data.labels.max() + 1, data.source_probabilities.shape[1]))
    numpy.add.at(table, (data.labels, top), 1)
    entropy = scipy.stats.entropy(table.ravel()) - scipy.stats.entropy(table.sum(axis=0))
    close(scores.nce(data.source_probabilities, data.labels), -entropy)


def test_n_leep_against_scikit_learn(data: Made) -> None:
    components = 5 * (data.labels.max() + 1)
    points = PCA(0.8, svd_solver="full").fit_transform(data.features)
    mixture = GaussianMixture(components, random_state=stream(0, "scores", "n_leep") % 2**32)
    theta = mixture.fit(points).predict_proba(points)
    close(scores.n_leep(data.features, data.labels), scores.leep(theta, data.labels))


def pearson_distances(features: numpy.ndarray) -> numpy.ndarray:
    return (1 - numpy.corrcoef(features))[numpy.triu_indices(len(features), 1)]


def zscore(features: numpy.ndarray) -> numpy.ndarray:
    return scipy.stats.zscore(features[:, features.std(axis=0) > 0], axis=0)


def test_rsa_against_scipy(data: Made) -> None:
    expected = scipy.stats.spearmanr(
        pearson_distances(data.features), pearson_distances(data.reference_features)
    ).statistic
    close(scores.rsa(data.features, data.labels, data.reference_features), expected)


def test_rsa_zscored_against_scipy(data: Made) -> None:
    expected = scipy.stats.spearmanr(
        pearson_distances(zscore(data.features)), pearson_distances(zscore(data.reference_features))
    ).statistic
    close(scores.rsa_zscored(data.features, data.labels, data.reference_features), expected)


def test_parc_against_scipy(data: Made) -> None:
    hot = numpy.eye(data.labels.max() + 1)[data.labels]
    expected = scipy.stats.spearmanr(
        pearson_distances(zscore(data.features)), numpy.round(pearson_distances(hot), 9)
    ).statistic
    close(scores.parc(data.features, data.labels), 100 * expected)


@pytest.mark.parametrize("least", [1, 4])
def test_domain_similarity_against_a_linear_programme(data: Made, least: int) -> None:
    own_counts = numpy.bincount(data.labels)
    own = numpy.array(
        [data.features[data.labels == c].mean(axis=0) for c in range(len(own_counts))]
    )
    kept, own_kept = data.class_counts >= least, own_counts >= least
    source, own = data.class_means[kept], own[own_kept]
    supply = data.class_counts[kept] / data.class_counts[kept].sum()
    demand = own_counts[own_kept] / own_counts[own_kept].sum()
    cost = numpy.array([[numpy.linalg.norm(a - b) for b in own] for a in source])
    sums = numpy.vstack(
        [
            numpy.kron(numpy.eye(len(supply)), numpy.ones(len(demand))),
            numpy.kron(numpy.ones(len(supply)), numpy.eye(len(demand))),
        ]
    )
    plan = scipy.optimize.linprog(cost.ravel(), A_eq=sums, b_eq=numpy.append(supply, demand))
    value = scores.domain_similarity(
        data.features, data.labels, data.class_means, data.class_counts, least
    )
    close(value, numpy.exp(-0.01 * plan.fun))


def test_feature_metrics_against_their_definitions(data: Made) -> None:
    # Every second feature negative: what is at most 0 is not what is 0.
    d = data.features.shape[1]
    f = data.features * numpy.where(numpy.arange(d) % 2, -1, 1)
    hoyer = [(d**0.5 - abs(x).sum() / (x @ x) ** 0.5) / (d**0.5 - 1) for x in f]
    parts = scores.feature_metrics(f, data.labels)
    close(parts["channel_variance"], numpy.mean([numpy.var(column) for column in f.T]))
    close(parts["variance"], parts["channel_variance"] / numpy.mean(f * f))
    close(parts["zeros"], numpy.count_nonzero(f == 0) / f.size)
    close(parts["hoyer"], numpy.mean(hoyer))
    close(parts[""], parts["variance"] + parts["zeros"] + parts["hoyer"])


def class_mean_rows(data: Made) -> numpy.ndarray:
    return numpy.array([data.features[data.labels == label].mean(axis=0) for label in data.labels])


def test_h_score_against_explicit_covariances(data: Made) -> None:
    # Of more features than images it is the same for all models, and undefined.
    features = data.features[:, : len(data.labels) - 5]
    inverse = numpy.linalg.pinv(numpy.cov(features.T), rcond=1e-12)
    between = numpy.cov(class_mean_rows(data).T)[: len(inverse), : len(inverse)]
    close(scores.h_score(features, data.labels), numpy.trace(inverse @ between))


def test_h_score_regularized_against_scikit_learn_shrinkage(data: Made) -> None:
    covariance, shrinkage = ledoit_wolf(data.features)
    between = numpy.cov(class_mean_rows(data).T, bias=True)
    expected = numpy.trace(numpy.linalg.inv(covariance) @ ((1 - shrinkage) * between))
    close(scores.h_score_regularized(data.features, data.labels), expected)


def test_logme_against_the_density_of_the_gaussian_marginal_at_its_maximum(data: Made) -> None:
    hot = numpy.eye(data.labels.max() + 1)[data.labels]
    n = len(hot)
    values, vectors = numpy.linalg.eigh(data.features @ data.features.T)
    values = numpy.maximum(values, 0)
    expected = []
    for target in hot.T:
        squares = (vectors.T @ target) ** 2

        def negative(logs: numpy.ndarray, squares: numpy.ndarray = squares) -> float:
            variance = values * numpy.exp(-logs[0]) + numpy.exp(-logs[1])
            return (numpy.log(2 * numpy.pi * variance) + squares / variance).sum() / 2 / n

        options = {"xatol": 1e-8, "fatol": 1e-13, "maxiter": 4000}
        starts = itertools.product((-2, 3, 8), (1, 4, 8))
        runs = (
            scipy.optimize.minimize(negative, start, method="Nelder-Mead", options=options)
            for start in starts
        )
        expected.append(-min(run.fun for run in runs))
    close(scores.logme(data.features, data.labels)[""], numpy.mean(expected))


def test_published_logme_against_its_updates_and_density_written_out(data: Made) -> None:
    f = data.features
    n, d = f.shape
    expected = []
    for label in range(data.labels.max() + 1):
        t = (data.labels == label).astype(float)
        a = b = 1.0
        for _ in range(11):
            inverse = numpy.linalg.inv(a * numpy.eye(d) + b * f.T @ f)
            mean = b * inverse @ f.T @ t
            gamma = b * numpy.trace(inverse @ f.T @ f)
            old = a / b
            a, b = gamma / (mean @ mean + 1e-5), (n - gamma) / (((t - f @ mean) ** 2).sum() + 1e-5)
            if abs(a / b - old) <= 1e-3 * old:
                break
        covariance = f @ f.T / a + numpy.eye(n) / b
        marginal = scipy.stats.multivariate_normal(numpy.zeros(n), covariance)
        expected.append(marginal.logpdf(t) / n)
    close(scores.logme(data.features, data.labels)["published"], numpy.mean(expected))


def test_transrate_against_explicit_determinants(data: Made) -> None:
    f = data.features - data.features.mean(axis=0)

    def rate(z: numpy.ndarray) -> float:
        return numpy.linalg.slogdet(numpy.eye(z.shape[1]) + z.T @ z / (len(z) * 1e-4))[1] / 2

    within = sum(
        (data.labels == c).mean() * rate(f[data.labels == c]) for c in range(data.labels.max() + 1)
    )
    close(scores.transrate(data.features, data.labels), rate(f) - within)


@pytest.mark.parametrize("spherical", [False, True])
def test_gbc_against_dense_gaussians(data: Made, spherical: bool) -> None:
    d = data.features.shape[1]
    classes = range(data.labels.max() + 1)
    total = 0.0
    for first, second in itertools.permutations(classes, 2):
        means, covariances = [], []
        for c in (first, second):
            own = data.features[data.labels == c]
            variance = numpy.maximum(own.var(axis=0), 1e-4)
            means.append(own.mean(axis=0))
            covariances.append(
                variance.mean() * numpy.eye(d) if spherical else numpy.diag(variance)
            )
        shared = sum(covariances) / 2
        gap = means[0] - means[1]
        logs = [numpy.linalg.slogdet(s)[1] for s in (shared, *covariances)]
        distance = (
            gap @ numpy.linalg.inv(shared) @ gap / 8 + (logs[0] - (logs[1] + logs[2]) / 2) / 2
        )
        total -= numpy.exp(-distance)
    score = scores.gbc_spherical if spherical else scores.gbc_diagonal
    close(score(data.features, data.labels), total)


def discriminant(f: numpy.ndarray, y: numpy.ndarray, shrinkage: float) -> numpy.ndarray:
    """Bayes' rule for Gaussians of one covariance, with their densities written out."""
    classes = range(y.max() + 1)
    covariance = sum((y == c).mean() * numpy.cov(f[y == c].T, bias=True) for c in classes)
    mean = numpy.trace(covariance) / len(covariance)
    covariance = (1 - shrinkage) * covariance + shrinkage * mean * numpy.eye(len(covariance))
    logs = [
        scipy.stats.multivariate_normal(f[y == c].mean(axis=0), covariance).logpdf(f)
        + numpy.log((y == c).mean())
        for c in classes
    ]
    return scipy.special.softmax(numpy.transpose(logs), axis=1)


def fisher_shrinkage(f: numpy.ndarray, y: numpy.ndarray) -> float:
    covariance = sum(
        (y == c).mean() * numpy.cov(f[y == c].T, bias=True) for c in range(y.max() + 1)
    )
    return max(numpy.exp(-5 * numpy.linalg.eigvalsh(covariance)[-1]), 1e-10)


def test_sfda_against_bayes_rule_written_out(data: Made) -> None:
    f, y = data.features / 6, data.labels
    shrinkage = fisher_shrinkage(f, y)
    assert shrinkage > 1e-6, "the case must exercise the shrinkage"
    first = scipy.special.softmax(discriminant(f, y, shrinkage), axis=1)
    means = numpy.array([f[y == c].mean(axis=0) for c in range(y.max() + 1)])
    moved = f.copy()
    for i, label in enumerate(y):
        others = numpy.delete(means, label, axis=0).mean(axis=0)
        moved[i] = first[i, label] * f[i] + (1 - first[i, label]) * others
    second = discriminant(moved, y, shrinkage)
    close(scores.sfda(f, y), numpy.mean([second[i, label] for i, label in enumerate(y)]))


def test_etran_against_its_parts_written_out(data: Made) -> None:
    f, y = data.features / 6, data.labels
    found = scores.etran(f, y)
    close(found["part=energy"], numpy.log(numpy.exp(f).sum(axis=1)).mean())
    posterior = discriminant(f, y, fisher_shrinkage(f, y))
    close(found["part=discriminant"], posterior[numpy.arange(len(y)), y].mean())


def test_ncti_against_scikit_learn(data: Made) -> None:
    # Centred features of n images have n - 1 directions; another one would be rounding alone.
    components = min(64, len(data.features) - 1, data.features.shape[1])
    analysis = PCA(components, svd_solver="full")
    points = analysis.fit_transform(data.features)
    shrinkage = float(numpy.exp(-analysis.explained_variance_[:32].sum()))
    options = (
        {"solver": "eigen", "shrinkage": shrinkage} if shrinkage > 1e-10 else {"solver": "svd"}
    )
    model = LinearDiscriminantAnalysis(**options)
    space = model.fit(points, data.labels).transform(points)
    posterior = model.predict_proba(points)
    found = scores.ncti(data.features, data.labels)
    values = numpy.linalg.svd(space - space.mean(axis=0), compute_uv=False)
    close(found["part=seli"], values.sum())
    picked = [posterior[i, label] for i, label in enumerate(data.labels)]
    close(found["part=nearest_center"], numpy.mean(picked))
    nuclear = sum(
        numpy.linalg.svd(posterior[data.labels == c], compute_uv=False).sum()
        for c in range(data.labels.max() + 1)
    )
    close(found["part=variability"], numpy.log(nuclear))


def test_pactran_against_scikit_learn_regression(data: Made) -> None:
    f = data.features - data.features.mean(axis=0)
    n, d = f.shape
    c = data.labels.max() + 1
    prior = 100 / d
    model = LogisticRegression(C=prior, tol=1e-10, max_iter=100_000, solver="newton-cg").fit(
        f, data.labels
    )
    chance = model.predict_proba(f)
    loss = -numpy.log(chance[numpy.arange(n), data.labels]).mean()
    loss += (model.coef_**2).sum() / (2 * n * prior)
    trace = numpy.mean([(x @ x) * (p * (1 - p)).sum() for x, p in zip(f, chance, strict=True)])
    bound = loss + d * c / (2 * n) * numpy.log(1 + n * prior * trace / (d * c))
    close(scores.pactran(data.features, data.labels), -bound)


def folds_by_hand(labels: numpy.ndarray) -> numpy.ndarray:
    """Spread the images of each class evenly over as many folds as the largest class has images."""
    counts = numpy.bincount(labels)
    folds = numpy.zeros(len(labels), dtype=int)
    for label, count in enumerate(counts):
        middles = (numpy.arange(count) + 0.5) / count
        folds[labels == label] = numpy.floor(middles * counts.max() + 1e-9)
    return folds


def test_knn_against_scikit_learn_refitted_for_each_fold(data: Made) -> None:
    folds = folds_by_hand(data.labels)
    right = []
    for fold in range(folds.max() + 1):
        out = folds == fold
        model = KNeighborsClassifier(5, weights="distance")
        model.fit(data.features[~out], data.labels[~out])
        right.extend(model.predict(data.features[out]) == data.labels[out])
    close(scores.knn(data.features, data.labels), numpy.mean(right))


def test_linear_probe_against_ridge_refitted_for_each_fold(data: Made) -> None:
    varying = data.features[:, data.features.std(axis=0) > 0]
    f = scipy.stats.zscore(varying, axis=0)
    hot = numpy.eye(data.labels.max() + 1)[data.labels]
    values = numpy.linalg.svd(f, compute_uv=False) ** 2
    scale = values[values > 1e-9 * values[0]].mean()
    folds = folds_by_hand(data.labels)
    results = []
    for penalty in 10.0 ** numpy.arange(-4, 5) * scale:
        held = numpy.empty_like(hot)
        for fold in range(folds.max() + 1):
            out = folds == fold
            held[out] = Ridge(penalty, solver="svd").fit(f[~out], hot[~out]).predict(f[out])
        results.append((((held - hot) ** 2).sum(), (held.argmax(axis=1) == data.labels).mean()))
    close(scores.linear_probe(data.features, data.labels), min(results)[1])
