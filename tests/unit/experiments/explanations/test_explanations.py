"""Explainers and controls in a shop whose tastes are known."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.results import Results
from recsim_gen.datasets.boutique.world import load
from recsim_gen.experiments.explanations import comparison, controls
from recsim_gen.experiments.explanations.chat import ChatExplainer, mentioned
from recsim_gen.experiments.explanations.explainers import CountExplainer, TasteExplainer
from recsim_gen.experiments.explanations.shop import Shop
from recsim_gen.experiments.explanations.truth import TrueReasons
from recsim_gen.models.family import open_family
from recsim_gen.models.prompts import explanation_prompt, parse_explanation


def words_of(dataset):
    """Keywords as a language model without fault would write them."""
    looks = map(dataset.world.attributes, range(len(dataset.catalog)))
    return [[look.category, look.main, look.second, look.pattern] for look in looks]


def opened(dataset, attributes: int = 1) -> Shop:
    shop = Shop(dataset, open_family("embedded"), attributes)
    shop.__dict__["keywords"] = words_of(dataset)
    return shop


@pytest.fixture(scope="module")
def dataset():
    return load(n_items=300, n_users=200)


@pytest.fixture(scope="module")
def shop(dataset):
    return opened(dataset)


@pytest.fixture(scope="module")
def truth(dataset):
    return TrueReasons.of(dataset, 5)


class TestTruth:
    def test_worths_are_what_tells_two_things_of_a_kind_apart(self, dataset, truth):
        """V(u, a) − V(u, b) is the difference of their worths: the rest is the same for both."""
        episode = dataset.episodes[3]
        kind = dataset.catalog.categories[episode.reference]
        rows = np.flatnonzero(dataset.catalog.categories == kind)[:6]
        utility = dataset.utility(episode.user, dataset.world.codes[rows])
        worths = [
            sum(truth.worths(replace(episode, reference=int(r), history=(1000,))).values()) for r in rows
        ]
        np.testing.assert_allclose(np.diff(worths), np.diff(utility))

    def test_the_reason_is_worth_most_and_more_than_nothing(self, dataset, truth):
        for episode in dataset.episodes:
            worths, reason = truth.worths(episode), truth.reason(episode)
            assert (reason is None) == (max(worths.values()) <= 0)
            assert reason is None or worths[reason] == max(worths.values())

    def test_all_that_an_item_has_is_among_the_best_of_all(self, dataset):
        everything, one = TrueReasons.of(dataset, 25), TrueReasons.of(dataset, 1)
        for episode in dataset.episodes[:20]:
            assert everything.favourites(episode) == set(everything.worths(episode))
            assert one.favourites(episode) <= {one.reason(episode)}


class TestExplainers:
    @pytest.mark.parametrize("explainer", [CountExplainer, TasteExplainer])
    def test_a_reason_is_the_history_s_alone(self, explainer, dataset, shop):
        """Whose it is makes no difference, nor who else is asked about."""
        asked = list(dataset.episodes[:12])
        whole = explainer(shop).explain(asked)
        strangers = [replace(e, id="x", user=0, source_user="x") for e in asked]
        assert explainer(shop).explain(strangers) == whole
        assert explainer(shop).explain(asked[::-1]) == whole[::-1]
        assert explainer(shop).explain(asked[4:5]) == whole[4:5]

    @pytest.mark.parametrize("explainer", [CountExplainer, TasteExplainer])
    def test_it_names_what_the_item_has_and_says_it_in_its_sentences(self, explainer, dataset):
        for said, episode in zip(
            explainer(opened(dataset, 2)).explain(dataset.episodes), dataset.episodes, strict=True
        ):
            look = dataset.world.attributes(episode.reference)
            assert set(said.named) <= {look.main, look.second, look.pattern}
            assert len(said.named) <= 2
            for word in said.named:
                assert word in said.caption
                assert word in said.reason
            assert look.category in said.caption
            assert bool(said.named) != said.reason.startswith("Nothing")

    def test_who_chose_nothing_but_one_colour_is_told_that_colour(self, dataset, shop):
        main = dataset.world.codes[:, 1]
        colour = np.bincount(main).argmax()
        *history, reference = np.flatnonzero(main == colour).tolist()
        episode = replace(dataset.episodes[0], history=tuple(history), reference=reference)
        name = dataset.world.attributes(reference).main
        for explainer in (CountExplainer, TasteExplainer):
            assert explainer(shop).explain([episode])[0].named == (name,)

    def test_reasons_are_the_true_ones_more_often_than_somebody_else_s(self, dataset, shop, truth):
        episodes = dataset.episodes
        for explainer in (CountExplainer(shop), TasteExplainer(shop)):
            right = []
            for asked in (episodes, controls.with_others_histories(episodes, Rng(0))):
                said = explainer.explain(asked)
                right.append(
                    np.mean([truth.reason(e) in s.named for e, s in zip(episodes, said, strict=True)])
                )
            assert right[0] > right[1] + 0.1


class TestControls:
    def test_others_histories_are_other_people_s_and_as_good_as_all_are_used(self, dataset):
        found = controls.with_others_histories(dataset.episodes, Rng(3))
        own = {e.history: e.source_user for e in dataset.episodes}
        for asked, given in zip(dataset.episodes, found, strict=True):
            assert (given.id, given.reference) == (asked.id, asked.reference)
            assert own[given.history] != asked.source_user
            assert asked.reference not in given.history
        used = Counter(e.history for e in found)
        assert len(used) > 0.8 * len(found)
        assert controls.with_others_histories(dataset.episodes, Rng(4)) != found

    def test_without_somebody_else_there_is_an_error(self, dataset):
        one = dataset.episodes[0]
        with pytest.raises(DataError, match="needs another person's history"):
            controls.with_others_histories([one, replace(one, id="again")], Rng(0))

    def test_what_everybody_likes_does_not_depend_on_who_asks(self, dataset, shop):
        episodes = dataset.episodes[:10]
        others = controls.with_others_histories(episodes, Rng(0))
        for control in (controls.popular_reasons, controls.first_reasons):
            assert control(shop, episodes) == control(shop, others)

    def test_random_reasons_are_the_seed_s_and_the_episode_s(self, dataset, shop):
        said = controls.random_reasons(shop, dataset.episodes, Rng(0))
        assert controls.random_reasons(shop, dataset.episodes[5:9], Rng(0)) == said[5:9]
        assert controls.random_reasons(shop, dataset.episodes, Rng(1)) != said
        places = [
            words_of(dataset)[e.reference].index(s.named[0])
            for e, s in zip(dataset.episodes, said, strict=True)
        ]
        assert min(Counter(places)[place] for place in (1, 2, 3)) > 0.2 * len(places)

    def test_the_truth_matches_always_where_there_is_one(self, dataset, shop, truth):
        (line,) = [
            line for line in comparison.lines({}, shop, dataset.episodes, [0], truth) if line.role == "truth"
        ]
        values = comparison.measured(line, shop, dataset.episodes, truth)
        assert values["fmr"].dropna().eq(1).all()
        assert values["fmr"].notna().equals(values["explained"].eq(1))
        three = opened(dataset, 3)
        everything = controls.true_reasons(three, dataset.episodes, truth)
        found = comparison.measured(replace(line, said=everything), three, dataset.episodes, truth)
        assert found["recall"].dropna().eq(1).all()


class TestComparison:
    @pytest.fixture(scope="class")
    def results(self, dataset, shop, truth):
        found = Results("explain", {})
        made = {"taste": TasteExplainer(shop)}
        lines = list(comparison.lines(made, shop, dataset.episodes, [0, 1], truth))
        tables = [comparison.measured(line, shop, dataset.episodes, truth) for line in lines]
        values = pd.concat(tables)
        comparison.conclude(values, {line.variant: line.role for line in lines}, "first", truth, found)
        return found

    def test_every_line_has_every_metric(self, results):
        frame = results.frame()
        whole = frame[frame["seed"].isna() & ~frame["metric"].str.contains("_minus_")]
        variants = {"taste", "taste_shuffled", *comparison.CONTROLS, comparison.ORACLE}
        assert set(zip(whole["variant"], whole["metric"], strict=True)) == {
            (variant, metric) for variant in variants for metric in comparison.METRICS
        }
        assert set(frame.loc[frame["variant"] == "random", "seed"].dropna()) == {0, 1}
        assert set(frame.loc[frame["variant"] == "popular", "seed"].dropna()) == {0}

    def test_a_method_is_compared_with_the_baseline_and_with_somebody_else(self, results):
        assert results.verdicts["taste against taste_shuffled"].startswith("better in fmr")
        assert "taste against first" in results.verdicts
        assert "taste_shuffled against first" not in results.verdicts

    def test_where_tastes_are_not_known_these_have_no_number_and_say_why(self, dataset, shop):
        found = Results("explain", {})
        lines = list(comparison.lines({}, shop, dataset.episodes, [0], None))
        tables = [comparison.measured(line, shop, dataset.episodes, None) for line in lines]
        values = pd.concat(tables)
        comparison.conclude(values, {line.variant: line.role for line in lines}, "first", None, found)
        lacking = [row for row in found.rows if row["metric"] in comparison.TRUTH]
        assert len(lacking) == 9
        assert {row["value"] for row in lacking} == {None}
        assert {row["reason"] for row in lacking} == {"needs known tastes (--data boutique)"}
        assert comparison.ORACLE not in {row["variant"] for row in found.rows}


class TestChat:
    def test_an_answer_is_read_in_the_forms_that_models_give_it(self):
        assert parse_explanation("Caption: A red lamp.\nReason: You like red.") == (
            "A red lamp.",
            "You like red.",
        )
        assert parse_explanation("Sure!\n\n**Caption:** A  lamp\n- reason: red") == ("A lamp", "red")
        for answer in ("", "Caption: only", "Reason: only\nCaption:\n", "a red lamp"):
            assert parse_explanation(answer) == ("", "")

    def test_the_prompt_has_all_that_an_answer_needs(self):
        prompt = explanation_prompt(["A mug\nin blue", "A hat"], "Red lamp", "A red lamp with dots", 2)
        for line in ("- A mug in blue\n- A hat\n", "Title: Red lamp\n", "at most 2 attributes"):
            assert line in prompt

    def test_attributes_are_found_as_whole_words(self):
        words = ("red", "dots", "light blue", "blue", "c++")
        assert mentioned("You like Light Blue dots, and coloured c++", words) == (
            "light blue",
            "blue",
            "dots",
            "c++",
        )

    def test_a_model_that_cannot_chat_is_refused(self):
        with pytest.raises(SettingError, match="language model of these models has not: leave chat out"):
            ChatExplainer.check(open_family("embedded"))
