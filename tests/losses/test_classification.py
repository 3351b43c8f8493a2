"""The losses against closed forms and PyTorch's numbers, and their edges."""

import functools

import jax
import numpy as np
import optax
import pytest
from jax import numpy as jnp

from cnnlab.losses import distillation, logits_matching, softmax_cross_entropy

LOGITS = np.random.Generator(np.random.PCG64(0)).standard_normal((6, 4)).astype(np.float32) * 3
LABELS = np.asarray([0, 1, 2, 3, 3, 0], np.int32)


def probabilities(logits):
    exponents = np.exp(logits.astype(np.float64))
    return exponents / exponents.sum(axis=1, keepdims=True)


def test_one_value_an_example_minus_the_logarithm_of_the_labels_probability():
    got = softmax_cross_entropy(jnp.asarray(LOGITS), jnp.asarray(LABELS))
    want = -np.log(probabilities(LOGITS)[np.arange(6), LABELS])
    assert got.shape == (6,)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_even_odds_cost_the_logarithm_of_the_classes():
    got = softmax_cross_entropy(jnp.full((2, 10), 3.0), jnp.asarray([0, 9]))
    np.testing.assert_allclose(got, np.log(10), rtol=1e-6)


@pytest.mark.parametrize("smoothing", [0.1, 0.5])
def test_smoothing_mixes_the_target_with_the_uniform_distribution(smoothing):
    got = softmax_cross_entropy(LOGITS, LABELS, label_smoothing=smoothing)
    target = (1 - smoothing) * np.eye(4)[LABELS] + smoothing / 4
    want = -(target * np.log(probabilities(LOGITS))).sum(axis=1)
    np.testing.assert_allclose(got, want, rtol=1e-5)
    smoothed = optax.smooth_labels(jax.nn.one_hot(LABELS, 4), smoothing)
    np.testing.assert_allclose(got, optax.softmax_cross_entropy(LOGITS, smoothed), rtol=1e-5)


OUTSIDE = np.asarray([-1, 4, 1, -4, 2**31 - 1, 3], np.int32)  # two of them of a class


@pytest.mark.parametrize(
    "loss",
    [
        softmax_cross_entropy,
        functools.partial(softmax_cross_entropy, label_smoothing=0.1),
        functools.partial(distillation(2.0, 0.5), targets=LOGITS[::-1]),
        functools.partial(logits_matching(0.5), targets=LOGITS[::-1]),
    ],
    ids=["cross-entropy", "smoothed", "distillation", "logits"],
)
def test_a_label_of_no_class_gives_nan_and_leaves_the_others_to_the_last_bit(loss):
    def total(logits, labels):
        losses = loss(logits, labels)
        return losses.sum(), losses

    compiled = jax.jit(jax.grad(total, has_aux=True))
    gradients, losses = compiled(LOGITS, OUTSIDE)
    within = (OUTSIDE >= 0) & (OUTSIDE < 4)
    assert np.isnan(losses).tolist() == (~within).tolist()
    assert np.isnan(gradients).all(axis=1).tolist() == (~within).tolist()
    wanted_gradients, wanted = compiled(LOGITS, np.where(within, OUTSIDE, 0))
    np.testing.assert_array_equal(np.asarray(losses)[within], np.asarray(wanted)[within])
    np.testing.assert_array_equal(
        np.asarray(gradients)[within], np.asarray(wanted_gradients)[within]
    )


def test_with_right_labels_loss_and_gradient_are_optax_s_to_the_last_bit():
    ours = jax.jit(jax.value_and_grad(lambda x: softmax_cross_entropy(x, LABELS).mean()))
    theirs = jax.jit(
        jax.value_and_grad(
            lambda x: optax.softmax_cross_entropy_with_integer_labels(x, LABELS).mean()
        )
    )
    jax.tree.map(np.testing.assert_array_equal, ours(LOGITS), theirs(LOGITS))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_gradient_is_the_probabilities_minus_the_target(smoothing):
    def total(logits):
        return softmax_cross_entropy(logits, LABELS, label_smoothing=smoothing).sum()

    target = (1 - smoothing) * np.eye(4)[LABELS] + smoothing / 4
    want = probabilities(LOGITS) - target
    np.testing.assert_allclose(jax.grad(total)(LOGITS), want, atol=1e-6)


def test_with_smoothing_the_best_logits_are_finite():
    """At p = target the gradient is zero: ``(1 - s) + s / K`` for the label."""
    best = np.log(np.asarray([[0.925, 0.025, 0.025, 0.025]], np.float32))
    gradient = jax.grad(
        lambda logits: softmax_cross_entropy(logits, jnp.asarray([0]), label_smoothing=0.1).sum()
    )(best)
    np.testing.assert_allclose(gradient, 0, atol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_huge_logits_give_finite_losses(smoothing):
    logits = jnp.asarray([[1e4, -1e4], [1e4, -1e4]])
    got = softmax_cross_entropy(logits, jnp.asarray([0, 1]), label_smoothing=smoothing)
    want = [smoothing / 2 * 2e4, (1 - smoothing / 2) * 2e4]
    np.testing.assert_allclose(got, want, rtol=1e-6)


@pytest.mark.parametrize(
    ("logits", "labels"), [((4,), (4,)), ((2, 3), (3,)), ((2, 3), (2, 3)), ((1, 2, 3), (1,))]
)
def test_other_shapes_are_refused(logits, labels):
    with pytest.raises(ValueError, match=r"logits must be \[N, K\] and labels integers \[N\]"):
        softmax_cross_entropy(jnp.zeros(logits), jnp.zeros(labels, jnp.int32))


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, float("nan")])
def test_a_smoothing_out_of_range_is_refused(smoothing):
    with pytest.raises(ValueError, match=r"label_smoothing must be in \[0, 1\)"):
        softmax_cross_entropy(LOGITS, LABELS, label_smoothing=smoothing)


# What a student learns by ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def torch_numbers(reference):
    """The module of the committed numbers, the numbers, and its examples in float32."""
    module, numbers = reference("distillation_torch")
    student, teacher, labels = module.examples()
    return module, numbers, student.astype(np.float32), teacher.astype(np.float32), labels


def check(loss, wanted, student, teacher, labels):
    """Asserts the losses and gradients of PyTorch."""
    np.testing.assert_allclose(loss(student, labels, teacher), wanted["losses"], rtol=1e-5)
    gradient = jax.jit(jax.grad(lambda logits: loss(logits, labels, teacher).sum()))(student)
    np.testing.assert_allclose(gradient, wanted["gradient"], rtol=1e-4, atol=3e-6)


def test_distillation_has_the_losses_and_gradients_of_pytorch(torch_numbers):
    module, numbers, *examples = torch_numbers
    for (temperature, weight, smoothing), wanted in zip(
        module.SETTINGS, numbers["distilled"], strict=True
    ):
        loss = distillation(temperature, weight, label_smoothing=smoothing)
        check(loss, wanted, *examples)


def test_matched_logits_have_the_losses_and_gradients_of_pytorch(torch_numbers):
    module, numbers, *examples = torch_numbers
    for (scale, weight), wanted in zip(module.MATCHINGS, numbers["matched"], strict=True):
        check(logits_matching(weight, scale=scale), wanted, *examples)
        check(logits_matching(weight, scale=np.full(5, scale)), wanted, *examples)


@pytest.mark.parametrize(
    "loss",
    [distillation(3.0, 0.8, label_smoothing=0.1), logits_matching(0.6, centred=True, scale=2.0)],
)
def test_the_gradient_is_that_of_finite_differences(loss, torch_numbers):
    _, _, student, teacher, labels = torch_numbers
    with jax.enable_x64(True):
        student, teacher = student[:2].astype(np.float64), teacher[:2].astype(np.float64)

        @jax.jit
        def slopes(logits):
            def total(flat):
                return loss(flat.reshape(2, 5), labels[:2], teacher).sum()

            flat = logits.ravel()
            ends = [
                jax.vmap(total)(flat + step) for step in (1e-5 * np.eye(10), -1e-5 * np.eye(10))
            ]
            return jax.grad(total)(flat), (ends[0] - ends[1]) / 2e-5

        np.testing.assert_allclose(*slopes(student), rtol=1e-6, atol=1e-8)


def test_the_teachers_gradient_is_that_of_the_papers_cross_entropy(torch_numbers):
    """The divergence leaves out the teacher's entropy, which has no gradient in the student."""
    _, _, student, teacher, labels = torch_numbers

    def cross_entropy(logits):
        soft = jax.nn.softmax(teacher / 4)
        return -16 * (soft * jax.nn.log_softmax(logits / 4)).sum()

    got = jax.grad(lambda logits: distillation(4.0, 1.0)(logits, labels, teacher).sum())(student)
    np.testing.assert_allclose(got, jax.grad(cross_entropy)(student), rtol=1e-4, atol=1e-5)


def test_a_student_that_agrees_with_its_teacher_has_no_loss(torch_numbers):
    _, _, _, teacher, labels = torch_numbers
    same_softmax = teacher + 3.0
    for loss in (distillation(4.0, 1.0), logits_matching(centred=True)):
        np.testing.assert_allclose(loss(same_softmax, labels, teacher), 0, atol=1e-5)
    np.testing.assert_allclose(logits_matching()(same_softmax, labels, teacher), 4.5, rtol=1e-5)


def test_at_high_temperatures_distillation_is_matching_centred_logits(torch_numbers):
    """Hinton et al., 2015, section 2.1, equations 3 and 4: the gradient (z - v) / K."""
    _, _, student, teacher, labels = torch_numbers

    def gradient(loss):
        return np.asarray(jax.jit(jax.grad(lambda z: loss(z, labels, teacher).sum()))(student))

    errors = student - teacher
    limit = gradient(logits_matching(centred=True))
    np.testing.assert_allclose(
        limit, (errors - errors.mean(1, keepdims=True)) / 5, rtol=1e-4, atol=1e-6
    )
    away = [np.abs(gradient(distillation(t, 1.0)) - limit).max() for t in (10.0, 100.0, 1000.0)]
    assert away[2] < 0.01 and away[1] < 0.2 * away[0] and away[2] < 0.2 * away[1]


@pytest.mark.parametrize("loss", [distillation(4.0, 0.9), logits_matching(0.5)])
def test_without_targets_it_is_the_cross_entropy(loss):
    np.testing.assert_array_equal(loss(LOGITS, LABELS), softmax_cross_entropy(LOGITS, LABELS))


@pytest.mark.parametrize("make", [lambda w: distillation(4.0, w), logits_matching])
def test_with_all_the_weight_on_the_teacher_labels_are_not_used(make):
    nonsense = np.full(6, -1000, np.int32)
    targets = LOGITS[::-1].copy()
    alone = make(1.0)
    np.testing.assert_array_equal(alone(LOGITS, nonsense, targets), alone(LOGITS, LABELS, targets))
    assert not np.allclose(make(0.9)(LOGITS, nonsense, targets), make(0.9)(LOGITS, LABELS, targets))


def test_a_class_that_the_teacher_rules_out_and_huge_logits_give_finite_losses():
    targets = jnp.asarray([[0.0, 1.0, -jnp.inf], [1e4, -1e4, 0.0]])
    logits = jnp.asarray([[1.0, 2.0, -5.0], [-1e4, 1e4, 0.0]])
    loss = distillation(1.0, 1.0)
    # Without the third class the first pair differ by log(1 + student's odds of it).
    odds = np.exp(-5.0) / (np.exp(1.0) + np.exp(2.0))
    np.testing.assert_allclose(
        loss(logits, jnp.zeros(2, int), targets), [np.log1p(odds), 2e4], rtol=1e-3
    )
    gradient = jax.grad(lambda z: loss(z, jnp.zeros(2, int), targets).sum())(logits)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("inf"), float("nan")])
def test_a_temperature_that_is_not_positive_and_finite_is_refused(temperature):
    with pytest.raises(ValueError, match="temperature must be positive and finite"):
        distillation(temperature)


@pytest.mark.parametrize("make", [lambda w: distillation(4.0, w), logits_matching])
@pytest.mark.parametrize("weight", [-0.1, 1.1, float("nan")])
def test_a_weight_out_of_range_is_refused(make, weight):
    with pytest.raises(ValueError, match=r"weight must be in \[0, 1\]"):
        make(weight)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), np.ones((2, 2)), np.array([1.0, 0.0])])
def test_a_scale_that_is_not_positive_is_refused(scale):
    with pytest.raises(ValueError, match="scale must be positive"):
        logits_matching(scale=scale)


@pytest.mark.parametrize("shape", [(6, 5), (5, 4), (6,), (1, 4)])
def test_targets_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match="same examples and classes"):
        distillation()(LOGITS, LABELS, np.zeros(shape, np.float32))


def test_a_smoothing_out_of_range_is_refused_when_the_loss_is_made():
    with pytest.raises(ValueError, match="label_smoothing"):
        distillation(label_smoothing=1.0)
