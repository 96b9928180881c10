"""Tastes for keywords: what a word adds to an item's worth, and whose words stand in places."""

import numpy as np
import pytest

from recsim_gen.core.types import Catalog
from recsim_gen.taste.keywords import ItemKeywords, KeywordTaste

COLOURS, PATTERNS = ("red", "blue", "green", "white"), ("plain", "dots")
PEOPLE = 40


def shop(n: int = 120) -> tuple[Catalog, list[list[str]]]:
    """Lamps and mugs, each with a colour and a pattern."""
    kinds = np.array(["lamp", "mug"])[np.arange(n) % 2]
    draw = np.random.default_rng(0)
    lists = [[str(kind), COLOURS[draw.integers(4)], PATTERNS[draw.integers(2)]] for kind in kinds]
    ids = [f"i{k}" for k in range(n)]
    return Catalog(ids, ids, ids, kinds), lists


@pytest.fixture(scope="module")
def world():
    """Person p chose eight items of colour p % 4, whatever their pattern."""
    catalog, lists = shop()
    colour, draw = np.array([words[1] for words in lists]), np.random.default_rng(1)
    histories = [
        draw.permutation(np.flatnonzero(colour == COLOURS[p % 4]))[:8].astype(np.int64) for p in range(PEOPLE)
    ]
    return KeywordTaste(catalog, lists, histories), histories


def test_the_colour_that_somebody_chooses_adds_most(world):
    taste, histories = world
    for person, colour in enumerate(COLOURS):
        items = np.flatnonzero([words[0] == colour for words in taste.lists])[:5]
        for worth in taste.contributions([histories[person]] * len(items), items):
            assert max(worth, key=worth.get) == colour
            assert worth[colour] > 0


def test_contributions_sum_to_the_worth_of_the_item(world):
    taste, histories = world
    items = np.arange(PEOPLE)
    found = taste.contributions(histories, items)
    posterior = taste.model.tastes(histories, taste.category[items][:, None]).mean[:, 0]
    worth = (posterior * taste.model.features[items]).sum(1)
    assert worth == pytest.approx([sum(by.values()) for by in found])


def test_without_a_history_nothing_adds_anything(world):
    taste, _ = world
    (worth,) = taste.contributions([np.empty(0, dtype=np.int64)], np.array([3]))
    assert set(worth) == set(taste.lists[3])
    assert worth == pytest.approx(dict.fromkeys(worth, 0.0))


def test_nobody_s_contributions_depend_on_who_else_is_asked_about(world):
    taste, histories = world
    items = np.arange(PEOPLE)
    whole = taste.contributions(histories, items)
    for k in (0, 7, 39):
        (alone,) = taste.contributions([histories[k]], items[[k]])
        assert alone == pytest.approx(whole[k])


def test_where_lists_have_many_lengths_places_mean_nothing(world):
    catalog, lists = shop()
    longer = [[*words, "new"] if k % 2 else words for k, words in enumerate(lists)]
    _, histories = world
    taste = KeywordTaste(catalog, longer, histories)
    assert taste.length is None
    item = next(k for k, words in enumerate(taste.lists) if words[0] == "red")
    (worth,) = taste.contributions([histories[0]], np.array([item]))
    assert max(worth, key=worth.get) == "red"


def test_a_list_of_another_length_says_nothing_among_aligned_ones(world):
    catalog, lists = shop()
    lists[5] = ["mug", "red"]
    _, histories = world
    taste = KeywordTaste(catalog, lists, histories)
    assert taste.length == 2
    assert taste.keys(taste.lists[5]) == []
    assert taste.contributions(histories[:1], np.array([5])) == [{}]


def test_names_of_categories_are_no_attributes():
    catalog, lists = shop()
    items = ItemKeywords(catalog, [["LAMP", "mug", *words] for words in lists])
    assert {word for words in items.lists for word in words} == {*COLOURS, *PATTERNS}
