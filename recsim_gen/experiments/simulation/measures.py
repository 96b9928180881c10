"""Measures of a round: sums over visits, for all people and without each of several groups of people.

A measure is a ratio of two sums, num / den, each an array (G + 1,): entry 0 for all people, entry g for all
but group g, from which `intervals` makes jackknife intervals. Sums of several rounds add up.

Measures of visits count those in which the arm itself chose the image; measures of lists count all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from recsim_gen.core.randomness import Rng

if TYPE_CHECKING:
    from recsim_gen.core.types import Dataset
    from recsim_gen.experiments.simulation.rounds import History
    from recsim_gen.experiments.simulation.visits import Visits

Meaning = Literal["packaging", "product"]
"""Meaning of an image: packaging of the item, or a product that is delivered as shown."""

GROUPS = 20

MEASURES = {
    "choices": "choices a visit",
    "kept": "choices a visit that are not sent back",
    "expected": "liking of what was chosen, as it was shown",
    "delivered": "liking of what came",
    "disappointment": "expected less delivered liking",
    "returns": "share of choices that are sent back",
    "recall@20": "of the ranker that learned from the round, on choices that are held back",
    "coverage": "share of the items that are on any list",
    "gini": "inequality of how often items are on lists, 0 to 1",
    "looks": "chance that two people see different looks at the top",
    "categories": "effective number of categories on a list",
}
"""{name: description}; liking is in units of utility (the noise of choices has sd 1.28)."""

HIGHER_IS_BETTER = {"choices": True, "kept": True, "delivered": True, "disappointment": False}

Sums = Mapping[str, "Sum"]


class Sum(NamedTuple):
    """Numerator ``num`` and denominator ``den`` (G + 1,) of a measure."""

    num: np.ndarray
    den: np.ndarray

    def plus(self, other: Sum) -> Sum:
        """Return the sum of both."""
        return Sum(self.num + other.num, self.den + other.den)

    @property
    def ratio(self) -> np.ndarray:
        """Return (G + 1,) num / den, NaN if den is 0."""
        return np.divide(self.num, self.den, out=np.full(len(self.num), np.nan), where=self.den != 0)


def groups_of(dataset: Dataset, people: np.ndarray) -> np.ndarray:
    """Return (n_users,) a random group 0…G−1 of each user's person; at most `GROUPS` groups.

    One person per group if there are fewer people. ``people`` are the rows of visitors; others get −1. Users
    of one person are in one group.
    """
    names, person = np.unique(dataset.people[people], return_inverse=True)
    lot = Rng(0).for_("groups").numpy().permutation(len(names))
    group = np.full(dataset.interactions.n_users, -1)
    group[people] = (lot % min(GROUPS, len(names)))[person]
    return group


def per_round(
    history: History, meaning: Meaning, group: np.ndarray, categories: np.ndarray
) -> list[dict[str, Sum]]:
    """Return the sums of `MEASURES` for each round of an arm.

    ``group`` (n_users,) from `groups_of`; ``categories`` (n,) codes of the items.
    """
    recalls = [visits.recall for visits in history.rounds[1:]] + [history.last_recall]
    return [
        {
            **_of_visits(v, meaning, group),
            "recall@20": _recall(v, recall, group),
            **_of_lists(v, group, categories),
        }
        for v, recall in zip(history.rounds, recalls, strict=True)
    ]


def over_rounds(rounds: Sequence[Sums]) -> dict[str, Sum]:
    """Return the sums over all rounds."""
    total = dict(rounds[0])
    for sums in rounds[1:]:
        total = {name: total[name].plus(more) for name, more in sums.items()}
    return total


def _left_out(of_groups: np.ndarray) -> np.ndarray:
    """Return (G + 1, …): the sum over axis 0, then the sum without each entry of it."""
    whole = of_groups.sum(0, keepdims=True)
    return np.concatenate([whole, whole - of_groups])


def _of_visits(visits: Visits, meaning: Meaning, group: np.ndarray) -> dict[str, Sum]:
    decided, count = ~visits.explored, group.max() + 1
    place = group[visits.people]

    def total(values: np.ndarray) -> np.ndarray:
        return _left_out(np.bincount(place[decided], values[decided].astype(float), minlength=count))

    chose = visits.chose
    seen, own = (np.where(chose, x, 0.0) for x in (visits.seen, visits.own))
    delivered = own if meaning == "packaging" else seen
    returned = visits.returned & (meaning == "packaging")
    all_visits, choices = total(np.ones(len(place))), total(chose)
    return {
        "choices": Sum(choices, all_visits),
        "kept": Sum(total(chose & ~returned), all_visits),
        "expected": Sum(total(seen), choices),
        "delivered": Sum(total(delivered), choices),
        "disappointment": Sum(total(seen - delivered), choices),
        "returns": Sum(total(returned), choices),
    }


def _recall(visits: Visits, recall: np.ndarray, group: np.ndarray) -> Sum:
    known, place, count = ~np.isnan(recall), group[visits.people], group.max() + 1
    num = np.bincount(place[known], recall[known], minlength=count)
    return Sum(_left_out(num), _left_out(np.bincount(place[known], minlength=count).astype(float)))


def _of_lists(visits: Visits, group: np.ndarray, categories: np.ndarray) -> dict[str, Sum]:
    count, place, length = group.max() + 1, group[visits.people], visits.lists.shape[1]
    one = np.ones(count + 1)
    exposed = np.zeros((count, len(categories)))
    np.add.at(exposed, (np.repeat(place, length), visits.lists.ravel()), 1)
    exposed = _left_out(exposed)
    people = _left_out(np.bincount(place, minlength=count).astype(float))
    effective = np.bincount(place, _effective_number(categories[visits.lists]), minlength=count)
    return {
        "coverage": Sum((exposed > 0).mean(1), one),
        "gini": Sum(gini(exposed), one),
        "looks": Sum(_differ(visits.first_look, place, count), one),
        "categories": Sum(_left_out(effective), people),
    }


def gini(counts: np.ndarray) -> np.ndarray:
    """Return the (…) Gini coefficients of ``counts`` (…, n) ≥ 0: 0 if equal, (n − 1)/n if one has all.

    G = Σ_i (2i − n − 1) x_i / (n Σ x), x ascending; NaN if all are 0.
    """
    n = counts.shape[-1]
    total = counts.sum(-1)
    weighted = (np.sort(counts, axis=-1) * (2 * np.arange(1, n + 1) - n - 1)).sum(-1)
    return np.divide(weighted, n * total, out=np.full(np.shape(total), np.nan), where=total > 0)


def _effective_number(codes: np.ndarray) -> np.ndarray:
    """Return (P,) exp of the entropy of the codes (P, L) in each row."""
    same = (codes[:, :, None] == codes[:, None, :]).mean(2)  # share of the row's codes equal to this one
    effective: np.ndarray = np.exp(-np.log(same).mean(1))
    return effective


def _differ(looks: np.ndarray, place: np.ndarray, count: int) -> np.ndarray:
    """Return (G + 1,) the probability that two of the people have different rows of ``looks`` (P, k)."""
    _, which = np.unique(looks, axis=0, return_inverse=True)
    number = np.zeros((count, which.max() + 1))
    np.add.at(number, (place, which.ravel()), 1)
    number = _left_out(number)
    people = number.sum(1)
    pairs = people * (people - 1)
    alike = (number * (number - 1)).sum(1)
    return 1 - np.divide(alike, pairs, out=np.full(len(people), np.nan), where=pairs > 0)
