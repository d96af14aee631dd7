"""Decoding and metrics of classification."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from bertjob_tasks import classification, metrics


def test_top_label_and_probabilities() -> None:
    """The largest logit wins and the probabilities add up to 1."""
    (found,) = classification.decode(np.array([[0.0, np.log(3.0)]]), ("down", "up"))

    assert found.label == "up"
    assert found.score == pytest.approx(0.75)
    assert found.scores == pytest.approx((0.25, 0.75))


@pytest.mark.parametrize("logits", [[-100.0, 5.0], [1e30, -1e30], [3e38, 3e38]])
def test_extreme_logits_stay_finite(logits: list[float]) -> None:
    """No logit of float32 makes a probability overflow."""
    (found,) = classification.decode(np.array([logits], dtype=np.float32), ("down", "up"))

    assert sum(found.scores) == pytest.approx(1.0)


def test_labels_of_another_model_are_refused() -> None:
    """As many labels as classes, or an error that says so."""
    with pytest.raises(ValueError, match="another model"):
        classification.decode(np.zeros((1, 3)), ("down", "up"))


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1))
def test_metrics_equal_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    """Accuracy and macro F1 are those of the reference, classes that never occur included."""
    predicted, expected = (np.array(column) for column in zip(*pairs, strict=True))

    assert metrics.accuracy(predicted, expected) == pytest.approx(accuracy_score(expected, predicted))
    reference = f1_score(expected, predicted, average="macro", zero_division=0)
    assert metrics.macro_f1(predicted, expected) == pytest.approx(reference)


def test_interval_is_wilsons() -> None:
    """The interval of 8 hits in 10 is the one of the textbook."""
    assert metrics.accuracy_interval(0.8, 10) == pytest.approx((0.4901625, 0.9433178), abs=1e-6)
