"""Tokens in flat memory."""

import numpy as np
import pytest
import torch

from bertjob_tasks.encoding import Encoded
from bertjob_trainer.data import Dataset

CPU = torch.device("cpu")


@pytest.fixture
def dataset() -> Dataset:
    """Return three samples of 2, 4 and 4 tokens."""
    rows = [[2, 3], [2, 7, 8, 3], [2, 9, 7, 3]]
    inputs = [Encoded(np.array(ids, dtype=np.int32), np.full(len(ids), 0, dtype=np.int32)) for ids in rows]
    return Dataset.of(inputs, np.array([1, 0, 1]), pad_id=0)


def test_batch_is_padded_to_its_longest_and_masked(dataset: Dataset) -> None:
    """Shorter samples are padded on the right and the mask says where tokens are."""
    batch = dataset.batch(np.array([0, 1]), device=CPU)

    assert batch.ids.tolist() == [[2, 3, 0, 0], [2, 7, 8, 3]]
    assert batch.mask is not None
    assert batch.mask.tolist() == [[True, True, False, False], [True] * 4]
    assert batch.labels.tolist() == [1, 0]


def test_batch_of_one_length_has_no_mask(dataset: Dataset) -> None:
    """Without padding attention runs unmasked."""
    assert dataset.batch(np.array([1, 2]), device=CPU).mask is None


def test_words_are_those_of_the_samples(dataset: Dataset) -> None:
    """Each token id once, padding left out."""
    assert dataset.words_of(np.array([0, 2])).tolist() == [2, 3, 7, 9]
    assert dataset.lengths.tolist() == [2, 4, 4]


def test_targets_of_tokens_are_padded_with_the_ignored() -> None:
    """Each token has a target, padding has none, and only those that count are counted."""
    inputs = [
        Encoded(np.array(ids, dtype=np.int32), np.zeros(len(ids), dtype=np.int32)) for ids in ([2, 3], [2, 7, 8, 3])
    ]
    dataset = Dataset.of(inputs, np.array([-100, 1, -100, 0, 2, -100]), pad_id=0, per_token=True)

    batch = dataset.batch(np.array([0, 1]), device=CPU)

    assert batch.labels.tolist() == [[-100, 1, -100, -100], [-100, 0, 2, -100]]
    assert [dataset.num_targets(np.array(samples)) for samples in ([0], [0, 1])] == [1, 3]
    assert len(dataset) == 2
