"""The generator contract for RAGAR, without a ranker: what draws must not depend on one."""

from dataclasses import replace
from typing import ClassVar

import pytest
import torch

from recsim_gen.core.errors import DataError
from recsim_gen.core.randomness import Rng
from recsim_gen.testing.generator_contract import TrainedGeneratorContract, tiny  # noqa: F401 - a fixture

SMALL = {
    "reward": "none",
    "steps": 2,
    "warm_start": 2,
    "batch_size": 2,
    "image_tokens": 2,
    "mapper_width": 8,
    "mapper_layers": 1,
    "mapper_heads": 2,
    "mapper_feed_forward": 8,
    "fusion_heads": 2,
    "queries": 4,
    "lora_rank": 2,
}


class TestRAGAR(TrainedGeneratorContract):
    name = "ragar"
    settings: ClassVar = SMALL

    def test_what_is_retrieved_plays_a_part_and_what_is_long_ago_does_not(self):
        generator, episode = self.make(), self.episodes[0]
        generator._catalog = self.catalog
        generator.restore(self.fitted().weights())
        # The tiny language model says the same of every item.
        generator._evidence.__dict__["keywords"] = [str(title).split() for title in self.catalog.titles]
        recent = replace(episode, history=episode.history[-20:])
        other = replace(episode, history=self.episodes[1].history)
        one, same, theirs = (generator.generate([e], rng=Rng(0)).pixels for e in (episode, recent, other))
        assert torch.equal(one, same)
        assert not torch.equal(one, theirs)

    def test_the_familys_models_are_left_as_they_were(self):
        pipeline = self.family.diffusion(device="cpu")
        language, _ = self.family.language_model(device="cpu")

        def state():
            parts = {"unet": pipeline.unet, "text": pipeline.text_encoder, "llm": language}
            return {f"{p}.{n}": x.clone() for p, m in parts.items() for n, x in m.state_dict().items()}

        before = state()
        self.make().fit(self.catalog, self.shop.episodes, rng=Rng(0)).generate(self.episodes[:1], rng=Rng(0))
        after = state()
        assert before.keys() == after.keys()
        assert all(torch.equal(before[name], after[name]) for name in before)

    def test_a_short_history_is_told(self):
        short = replace(self.episodes[0], history=self.episodes[0].history[:3])
        with pytest.raises(DataError, match=r"a history of at least k = 5 items is wanted, got 3.*smaller k"):
            self.fitted().generate([short], rng=Rng(0))
        assert len(self.fitted(k=3).generate([short], rng=Rng(0)).pixels) == 1
        with pytest.raises(DataError, match=r"at least k = 5 items are wanted, none of 1 episodes"):
            self.make().fit(self.catalog, [short], rng=Rng(0))

    def test_an_item_without_text_is_told(self):
        nothing = [""] * len(self.catalog)
        bare = replace(self.catalog, captions=nothing, titles=nothing)
        with pytest.raises(DataError, match="has neither caption nor title"):
            self.make().fit(bare, self.shop.episodes, rng=Rng(0))

    def test_weights_of_other_settings_are_told(self):
        weights = self.fitted().weights()
        other = self.make(queries=5)
        other._catalog = self.catalog
        with pytest.raises(DataError, match=r"'mapper.queries' must be \(1, 5, 8\), got \(1, 4, 8\)"):
            other.restore(weights)
