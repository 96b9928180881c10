"""The parts of RAGAR by themselves: keywords, mapper, image tokens, map of the calibrator, the watch."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from generators.ragar.config import RAGARConfig
from generators.ragar.evidence import key_line, top_keywords
from generators.ragar.fusion import Fusion, spread
from generators.ragar.language import ImageTokens
from generators.ragar.losses import calibrator_loss, ridge, semantic_loss, total
from generators.ragar.mapper import ModalMapper
from generators.ragar.watch import Watch, over_optimised
from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.models.family import open_family
from recsim_gen.testing import tiny_models


def test_keywords_of_high_frequency_are_kept():
    lists = [["Hat", "pink", "dots"], ["hat", "white", "Dots"], ["dress", "pink", "checks"]]
    assert top_keywords(lists, 3) == ["Hat", "pink", "dots"]
    assert top_keywords(lists, 2, without={"hat", "dress"}) == ["pink", "dots"]
    assert top_keywords([["red", "blue"], ["green", "blue"], ["red", "green"]], 3) == ["red", "green", "blue"]
    assert top_keywords([], 3) == []
    assert key_line("hat", ["pink", "HAT", "dots"]) == "hat, pink, dots"
    assert key_line(" ", ["pink"]) == "pink"


def test_the_mapper_gives_as_many_states_as_it_has_queries():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        mapper = ModalMapper(6, 10, width=8, layers=2, heads=2, feed_forward=16, queries=5)
        image = torch.randn(3, 4, 6)
    found = mapper(image)
    assert found.shape == (3, 5, 10)
    assert torch.allclose(mapper(image[1:2]), found[1:2], atol=1e-5)


def test_padding_of_the_keywords_is_not_attended_to():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        fusion, joined, key = Fusion(6, 8, 2), torch.randn(2, 4, 8), torch.randn(2, 5, 8)
    mask = torch.tensor([[True, True, True, False, False]]).expand(2, -1)
    other = key.clone()
    other[:, 3:] += 1
    moved = [fusion(joined, x, mask) - spread(x, 3) for x in (key, other)]
    assert torch.allclose(*moved, atol=1e-6)
    with pytest.raises(SettingError, match="must divide the text encoder's width 8, got 3"):
        Fusion(6, 8, 3)


def test_a_prompt_is_read_alike_alone_and_beside_longer_ones(tmp_path):
    family = replace(open_family(tiny_models.save_family(tmp_path)))
    model, tokenizer = family.language_model(device="cpu")
    language = ImageTokens(model, tokenizer, tokens=3, rank=2, alpha=4, rng=Rng(0))
    prompts = ["a red hat", "somebody chose these: " + "shirts, " * 10, "x" * 1000]
    text, image = language(prompts)
    assert text.shape == (3, 16)
    assert image.shape == (3, 3, 16)
    for row, prompt in enumerate(prompts):  # the last is longer than the model takes
        for together, alone in zip((text, image), language([prompt]), strict=True):
            assert torch.allclose(together[row], alone[0], atol=1e-5)
    assert not torch.allclose(image[0], image[1], atol=1e-3)


def test_the_map_is_the_least_squares_of_what_is_linear():
    draw = np.random.default_rng(0)
    visual, true = draw.standard_normal((500, 6)) * 5 + 2, draw.standard_normal((4, 6))
    w, b = ridge(visual, visual @ true.T + 3)
    assert np.allclose(w, true, atol=0.02)
    assert np.allclose(b, 3, atol=0.1)


def test_losses_are_the_equations():
    states, wanted = torch.arange(24.0).reshape(2, 3, 4), torch.zeros(2, 4)
    by_hand = np.mean([(states[k].mean(0) ** 2).sum() / 4 for k in range(2)])
    assert float(calibrator_loss(states, wanted)) == pytest.approx(by_hand)
    assert float(semantic_loss(states, states.mean(1))) == 0
    config = RAGARConfig(calibrator_weight=2.0, rank_weight=3.0, semantic_weight=5.0)
    parts = {"calibrator": torch.tensor(1.0), "rank": torch.tensor(10.0), "semantic": torch.tensor(100.0)}
    assert float(total(parts, config)) == 2 + 30 + 500
    with pytest.raises(DataError, match=r"got \(2, 3, 4\) and \(2, 3\)"):
        calibrator_loss(states, torch.zeros(2, 3))


def numbers(reward, judge):
    return [{"reward": float(r), "judge_reward": float(j)} for r, j in zip(reward, judge, strict=True)]


def test_over_optimisation_is_a_judge_that_falls_while_the_reward_rises():
    assert over_optimised(numbers([1, 2, 3, 4], [4, 4, 3, 3]), 2)
    assert over_optimised(numbers([1, 2, 3, 4], [1, 2, 3, 4]), 2) is None
    assert over_optimised(numbers([4, 4, 3, 3], [4, 4, 3, 3]), 2) is None
    assert over_optimised(numbers([1, 2, 3], [4, 3, 2]), 2) is None  # too few to tell
    assert over_optimised([{"reward": 1.0}] * 4, 2) is None


def test_a_watch_stops_and_keeps_the_weights_that_the_judge_liked_best(tmp_path):
    found = dict(enumerate(numbers([1, 2, 3, 4, 5], [3, 5, 4, 3, 2])))
    at, asked = [0], []

    def evaluate(step):
        asked.append(step)
        return found[step]

    def watch():
        weights = lambda: {"w": torch.tensor([float(at[0])])}  # noqa: E731
        return Watch(tmp_path, evaluate, weights, every=1, patience=2, steps=9)

    first = watch()
    for step in range(4):
        at[0] = step
        assert first(step) == (step < 3)
    assert "training reward rose from 1.5 to 3.5" in first.stopped
    assert float(first.best()["w"]) == 1
    again = watch()  # as after a kill: nothing is measured twice
    assert [again(step) for step in range(4)] == [True, True, True, False]
    assert asked == [0, 1, 2, 3]
