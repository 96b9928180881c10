"""Pairs to learn from: each choice once, users evenly, and negatives that nobody chose."""

from collections import Counter

import numpy as np
import pytest

from rankers.configs import Training, batch_size
from rankers.training.data import train_choices
from rankers.training.pairs import Pairs
from recsim_gen.core.errors import DataError
from recsim_gen.testing import worlds

CHOSEN = worlds.noise()[1]
KNOWN = set(zip(*(rows.tolist() for rows in CHOSEN.only("train")), strict=True))


def pairs(seed=0, **settings) -> Pairs:
    return Pairs(*train_choices(CHOSEN), CHOSEN.n_items, Training(**settings), seed)


def test_by_interaction_each_choice_comes_once_an_epoch_in_another_order():
    batches = pairs(train_batch_size=16)
    epochs = [
        [pair for b in batches for pair in zip(*(r.tolist() for r in b[:2]), strict=True)] for _ in "12"
    ]
    assert all(len(rows) == len(KNOWN) and set(rows) == KNOWN for rows in epochs)
    assert epochs[0] != epochs[1]
    assert len(batches) == -(-len(KNOWN) // 16)


@pytest.mark.parametrize("sampling", ["user", "user-repeated"])
def test_users_are_drawn_evenly_and_so_are_their_choices(sampling):
    batches = pairs(sampling=sampling, train_batch_size=20)
    assert len(batches) == len(KNOWN) // 20 + 1
    drawn: Counter[tuple[int, int]] = Counter()
    for _ in range(300):
        for batch in batches:
            user, item, negative = (rows.tolist() for rows in batch)
            assert len(set(user)) == len(user) == 20  # each once: there are 30
            assert not KNOWN & set(zip(user, negative, strict=True))
            drawn.update(zip(user, item, strict=True))
    assert set(drawn) == KNOWN
    by_user: Counter[int] = Counter()
    for (user, _), count in drawn.items():
        by_user[user] += count
    total = sum(drawn.values())
    for user, count in by_user.items():
        assert count / total == pytest.approx(1 / 30, rel=0.15)
        rows = [c for (u, _), c in drawn.items() if u == user]
        assert max(rows) / min(rows) < 1.6


def test_of_fewer_users_than_a_step_has_each_is_drawn_once_or_as_published_repeatedly():
    """The original code draws as many as the batch is large, with replacement: here 300 of 30."""
    assert [len(batch.user) for batch in pairs(sampling="user", train_batch_size=300)] == [30]
    (batch,) = pairs(sampling="user-repeated", train_batch_size=300)
    counts = np.bincount(batch.user, minlength=30)
    assert counts.sum() == 300
    assert counts.min() < 10 < counts.max()
    assert not KNOWN & set(zip(batch.user.tolist(), batch.negative.tolist(), strict=True))


def test_equal_seeds_draw_alike_and_others_do_not():
    def drawn(seed):
        return [[rows.tolist() for rows in batch] for batch in pairs(seed, train_batch_size=50)]

    assert drawn(0) == drawn(0) != drawn(1)


def test_negatives_are_uniform_among_what_was_not_chosen():
    batches = pairs(train_batch_size=64)
    counts = np.zeros((30, 40))
    for _ in range(400):
        for batch in batches:
            np.add.at(counts, (batch.user.numpy(), batch.negative.numpy()), 1)
    for user in range(30):
        free = np.array([(user, item) not in KNOWN for item in range(40)])
        assert counts[user, ~free].sum() == 0
        expected = counts[user].sum() / free.sum()
        assert ((counts[user, free] - expected) ** 2 / expected).sum() < 2.2 * free.sum()  # chi-squared


def test_without_train_rows_it_says_so():
    with pytest.raises(DataError, match="the train split must have interactions, got none"):
        train_choices(CHOSEN.with_split(np.full(len(CHOSEN), "test")))


@pytest.mark.parametrize(
    ("choices", "asked", "used"),
    [
        (49_999, 0, 4096),
        (50_000, 0, 8192),
        (262_144, 0, 8192),
        (262_145, 0, 8193),
        (8_000_000, 0, 250_000),
        (10, 20, 20),
        (8_000_000, 8192, 8192),
    ],
)
def test_large_logs_are_learned_in_large_steps_unless_told(choices, asked, used):
    assert Training(train_batch_size=asked).for_log(choices).train_batch_size == used


@pytest.mark.parametrize("choices", [1, 5_000, 49_999, 200_000, 262_144, 1_000_001, 10**8])
def test_an_epoch_has_32_steps_at_most(choices):
    """Each passes over all items: so an epoch's time grows with the data, and not with its square."""
    assert -(-choices // batch_size(0, choices)) <= 32
