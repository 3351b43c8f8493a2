"""Linear probes against scikit-learn's, and the choice of the penalty."""

import ml_dtypes
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier

from cnnlab.transfer import probes

GENERATOR = np.random.default_rng(0)
LABELS = GENERATOR.integers(0, 4, 60)
CENTRES = GENERATOR.normal(size=(4, 90))


def make_features(examples, width, seed=1):
    noise = np.random.default_rng(seed).normal(size=(examples, width))
    return (noise + CENTRES[LABELS[:examples], :width] + 5).astype(np.float32)


@pytest.mark.parametrize("width", [7, 90])  # more examples than features, and fewer
@pytest.mark.parametrize("penalty", [0.1, 30.0])
def test_closed_form_is_scikit_learn_s_ridge(monkeypatch, width, penalty):
    monkeypatch.setattr(probes, "_CHUNK", 100)  # several parts
    features = make_features(60, width)
    got = probes.ridge(features, LABELS, 4, penalty)
    wide = features.astype(np.float64)
    theirs = RidgeClassifier(alpha=penalty).fit(wide, LABELS)
    np.testing.assert_allclose(got.weights, theirs.coef_.T, rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(got.bias, theirs.intercept_, rtol=1e-7, atol=1e-10)
    np.testing.assert_array_equal(got.scores(wide).argmax(1), theirs.predict(wide))
    targets = np.where(LABELS[:, None] == np.arange(4), 1.0, -1.0)
    regression = Ridge(alpha=penalty).fit(wide, targets)
    np.testing.assert_allclose(got.scores(wide), regression.predict(wide), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("classes", [2, 4])
def test_logistic_is_scikit_learn_s_and_leaves_out_classes_without_examples(classes):
    labels = LABELS % classes
    features = make_features(60, 5).astype(np.float64) - 5
    got = probes.logistic(features, labels, classes, 2.0)
    theirs = LogisticRegression(C=0.5, max_iter=300).fit(features, labels)
    np.testing.assert_array_equal(got.scores(features).argmax(1), theirs.predict(features))
    wanted = theirs.predict_log_proba(features)
    scores = got.scores(features)
    actual = scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
    np.testing.assert_allclose(actual, wanted, atol=1e-6)
    more = probes.logistic(features, 2 * labels, 2 * classes, 2.0)  # none of the odd ones
    np.testing.assert_array_equal(more.scores(features).argmax(1), 2 * theirs.predict(features))


@pytest.mark.parametrize("kind", probes.KINDS)
def test_the_penalty_is_the_best_on_validation_and_the_scale_of_features_does_not_matter(kind):
    train, validation = make_features(60, 30), 4 * make_features(60, 30, seed=2) - 15

    def fit(*penalties, scale=1.0):
        data = scale * train, LABELS, scale * validation, LABELS
        return probes.fit_probe(*data, 4, kind=kind, penalties=penalties)

    tried = (0.1, 10.0, 1e3)
    alone = {penalty: fit(penalty).validation for penalty in tried}
    probe = fit(*tried)
    assert probe.validation == probe.linear.accuracy(validation, LABELS) == max(alone.values())
    assert probe.penalty == max(p for p in tried if alone[p] == probe.validation)
    scaled = fit(*tried, scale=10.0 ** np.linspace(-3, 3, 30))
    assert (scaled.penalty, scaled.validation) == (probe.penalty, probe.validation)


@pytest.mark.parametrize("kind", probes.KINDS)
@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.uint8])
def test_narrow_features_give_the_probe_of_the_same_numbers_in_float32(kind, dtype):
    features = (20 * make_features(60, 8)).astype(dtype)  # sums and squares over 65,504
    wide = features.astype(np.float32)
    got, wanted = (
        probes.fit_probe(x[:40], LABELS[:40], x[40:], LABELS[40:], 4, kind=kind)
        for x in (features, wide)
    )
    np.testing.assert_array_equal(got.linear.weights, wanted.linear.weights)
    assert got.validation == wanted.validation


def test_a_feature_that_is_constant_has_no_weight():
    features = np.concatenate([make_features(60, 5), np.full((60, 1), 3.0)], axis=1)
    probe = probes.fit_probe(features, LABELS, features, LABELS, 4)
    assert np.all(probe.linear.weights[-1] == 0)


def test_invalid_features_and_labels_are_refused():
    features = make_features(60, 5)
    broken = features.copy()
    broken[3, 2] = np.nan
    cases = [
        (lambda: probes.ridge(features, LABELS, 4, 0.0), "penalty must be positive"),
        (lambda: probes.ridge(broken, LABELS, 4, 1.0), "must be finite"),
        (lambda: probes.ridge(features, LABELS[:9], 4, 1.0), "those of other data"),
        (lambda: probes.ridge(features, LABELS, 3, 1.0), r"0\.\.2"),
        (lambda: probes.ridge(features[:, :, None], LABELS, 4, 1.0), r"must be \[N, D\]"),
        (lambda: probes.logistic(features, 0 * LABELS, 4, 1.0), "two classes, got 60 of class 0"),
        (
            lambda: probes.fit_probe(features, LABELS, features[:, :3], LABELS, 4),
            "of the same stage, got 5 and 3",
        ),
        (
            lambda: probes.fit_probe(features, LABELS, features, LABELS, 4, kind="rigde"),
            "Did you mean 'ridge'",
        ),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()
