"""The generator contract for ``ragar_taste``, without a judge, and what is its own."""

from typing import ClassVar

import numpy as np
import pytest
import torch
from generator_contract import GeneratorContract, tiny  # noqa: F401 - a fixture
from tiny_ranker import Brightness, SureOfBright

from generators.keywords import Keywords
from generators.sampler import Conditions
from recsim_gen.artifacts.trained_rankers import make_ranker
from recsim_gen.core.errors import SettingError
from recsim_gen.core.randomness import Rng

SMALL = {
    "encoder": "tiny_ranker:Brightness",
    "reward": "none",
    "looks": 4,
    "steps": 3,
    "batch_size": 2,
    "reward_steps": 1,
}


@pytest.fixture(autouse=True)
def words_of_titles(monkeypatch):
    """The tiny language model says the same of every item: the words of the titles stand in."""
    monkeypatch.setattr(
        Keywords, "of_all", lambda self: [str(title).split()[:-1] for title in self._catalog.titles]
    )


class TestRAGARTaste(GeneratorContract):
    name = "ragar_taste"
    settings: ClassVar = SMALL

    def judged(self, ranker_sign=1.0, **settings):
        """Fitted with a judge that likes bright pictures."""
        pictures = [self.catalog.images.read(row) for row in range(len(self.catalog))]
        catalog = self.catalog.with_features("image", None, Brightness().encode_images(pictures))
        ranker = SureOfBright(catalog, ranker_sign)
        return self.make(**settings).fit(catalog, self.shop.episodes, ranker=ranker, rng=Rng(0))

    def test_it_needs_a_judge_that_says_how_sure_it_is(self):
        blind = make_ranker("popularity").fit(self.catalog, self.shop.interactions, rng=Rng(0))
        with pytest.raises(SettingError, match=r"needs a judge that says how sure it is.*got popularity"):
            self.make(reward="gain").fit(self.catalog, self.shop.episodes, ranker=blind, rng=Rng(0))
        with pytest.raises(SettingError, match="got none"):
            self.make(candidates=2).fit(self.catalog, self.shop.episodes, rng=Rng(0))

    def test_of_several_candidates_the_one_is_kept_that_judge_and_keywords_like_best(self):
        one, several = self.judged(), self.judged(candidates=3)
        episodes = self.episodes
        drawn = [[x for c in range(3) for x in self.candidate(one, episode, c)] for episode in episodes]
        best = several.generate(episodes, rng=Rng(0)).pixels
        for episode, choices, kept in zip(episodes, drawn, best, strict=True):
            looks = one._ranked([episode])[0]
            worth = one._gains([episode] * 3, choices) + one.config.prior * looks.gain[:3]
            assert torch.equal(kept, choices[int(np.argmax(worth))])

    def test_loaded_it_chooses_once_it_has_its_judge_again(self, tmp_path):
        several = self.judged(candidates=2)
        several.save(tmp_path / "saved")
        again = type(several).load(tmp_path / "saved", several.catalog, models=self.family, device="cpu")
        with pytest.raises(SettingError, match="needs a judge that says how sure it is"):
            again.generate(self.episodes[:1], rng=Rng(0))
        again.judged_by(several.judge)
        one, other = (g.generate(self.episodes[:1], rng=Rng(0)).pixels for g in (several, again))
        assert torch.equal(one, other)

    def candidate(self, generator, episode, c):
        """The picture of the c-th look alone."""
        looks, noise = generator._ranked([episode])[0], Rng(0).for_("noise", episode.id, 0)
        states = generator._sampler.states([generator._text(episode, looks.keywords[c])])[0]
        stream = noise.for_("candidate", c) if c else noise
        return generator._sampler.draw_each([(Conditions(states), stream)], "one")

    def test_training_moves_the_policy_by_the_judges_word(self):
        learned, same, other = (
            self.judged(sign, reward="gain", noises=2).weights() for sign in (1.0, 1.0, -1.0)
        )
        assert learned["policy.offset"].abs().max() > 0
        assert all(torch.equal(x, same[name]) for name, x in learned.items())
        assert not torch.equal(learned["policy.offset"], other["policy.offset"])
        start = self.fitted().weights()
        assert start["policy.offset"].abs().max() == 0
        assert torch.equal(start["taste.agreement"], learned["taste.agreement"])

    def test_a_killed_training_ends_with_the_same_weights(self, tmp_path, monkeypatch):
        whole = self.judged(reward="gain").fingerprint
        monkeypatch.setattr("recsim_gen.core.training_loop.SECONDS_BETWEEN_CHECKPOINTS", -1.0)
        undisturbed, calls = SureOfBright.appraise, []

        def killed(judge, histories, items, features):
            calls.append(1)
            if len(calls) == 5:
                raise KeyboardInterrupt
            return undisturbed(judge, histories, items, features)

        pictures = [self.catalog.images.read(row) for row in range(len(self.catalog))]
        catalog = self.catalog.with_features("image", None, Brightness().encode_images(pictures))
        monkeypatch.setattr(SureOfBright, "appraise", killed)
        fit = {"ranker": SureOfBright(catalog), "rng": Rng(0), "work": tmp_path}
        with pytest.raises(KeyboardInterrupt):
            self.make(reward="gain").fit(catalog, self.shop.episodes, **fit)
        assert self.make(reward="gain").fit(catalog, self.shop.episodes, **fit).fingerprint == whole
        assert len(calls) == 1 + 2 * self.settings["steps"]  # two a step, and one was killed

    def test_the_reference_itself_is_among_the_looks_and_caution_keeps_it(self):
        bold = self.fitted()._looks(self.episodes)
        careful = self.fitted(caution=1000.0)._looks(self.episodes)
        for one, other in zip(bold, careful, strict=True):
            assert (one.changed == 0).sum() == 1
            assert other.changed[0] == 0
            assert other.gain[0] == pytest.approx(0)
            assert other.sd[0] == pytest.approx(0)

    def test_evidence_by_caption_is_one_look_by_the_papers_keywords(self):
        generator = self.fitted(evidence="caption", k=2)
        for one, key in zip(
            generator._looks(self.episodes), generator._evidence.of(self.episodes).keys, strict=True
        ):
            assert len(one.keywords) == 1
            assert key.endswith(", ".join(one.keywords[0]))
