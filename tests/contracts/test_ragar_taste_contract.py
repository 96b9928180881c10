"""The generator contract for ``ragar_taste``, without a judge, and what is its own."""

from typing import ClassVar

import numpy as np
import pytest
import torch
from tiny_ranker import Brightness, LikesBright, SureOfBright

from generators.keywords import Keywords
from generators.sampler import Conditions
from recsim_gen.core.errors import SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.testing.generator_contract import GeneratorContract, tiny  # noqa: F401 - a fixture

SMALL = {
    "encoder": "tiny_ranker:Brightness",
    "reward": "none",
    "candidates": 1,
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

    def test_its_words_are_those_of_all_candidates(self):
        one, three = (self.judged(candidates=n).words(self.episodes[0]).split("\n") for n in (1, 3))
        assert len(three) == 3
        assert three[:1] == one
        category = str(self.catalog.categories[self.episodes[0].reference])
        assert all(line.startswith(category) for line in three)

    def test_it_asks_for_a_judge_where_it_learns_or_chooses_by_one(self):
        assert not self.make().uses_ranker
        for settings in ({"reward": "gain"}, {"candidates": 2}):
            made = self.make(**settings)
            assert made.uses_ranker
            assert made.weighs_doubt
            assert made.chooses == (made.config.candidates > 1)
            with pytest.raises(SettingError, match=r"ragar_taste learns from a ranker's scores.*--judges"):
                made.fit(self.catalog, self.shop.episodes, rng=Rng(0))

    def test_a_judge_that_does_not_say_how_sure_it_is_has_no_doubt(self):
        """Then it is asked by substitution, and κ plays no part."""
        pictures = [self.catalog.images.read(row) for row in range(len(self.catalog))]
        catalog = self.catalog.with_features("image", None, Brightness().encode_images(pictures))
        kept = [
            self.make(candidates=2, prior=0.0, doubt=doubt)
            .fit(catalog, self.shop.episodes, ranker=LikesBright(catalog), rng=Rng(0))
            .generate(self.episodes, rng=Rng(0))
            .pixels
            for doubt in (0.0, 5.0)
        ]
        assert torch.equal(*kept)
        one = self.judged()
        for episode, picture in zip(self.episodes, kept[0], strict=True):
            both = torch.stack([x for c in range(2) for x in self.candidate(one, episode, c)])
            assert torch.equal(picture, both[both.mean((1, 2, 3)).argmax()])

    def test_of_several_candidates_the_one_is_kept_that_judge_and_keywords_like_best(self):
        one, several = self.judged(), self.judged(candidates=3)
        episodes = self.episodes
        drawn = [[x for c in range(3) for x in self.candidate(one, episode, c)] for episode in episodes]
        best = several.generate(episodes, rng=Rng(0)).pixels
        for episode, choices, kept in zip(episodes, drawn, best, strict=True):
            (looks,) = one._ready.ranked([episode])
            worth = several.worth([episode], torch.stack(choices)[None], looks.gain[None, :3])
            assert torch.equal(kept, choices[int(np.argmax(worth))])
            assert several.config.prior == 1
            plain = several.worth([episode], torch.stack(choices)[None], 0 * looks.gain[None, :3])
            assert worth - plain == pytest.approx(looks.gain[None, :3])

    def test_loaded_it_chooses_once_it_has_its_judge_again(self, tmp_path):
        several = self.judged(candidates=2)
        several.save(tmp_path / "saved")
        again = type(several).load(tmp_path / "saved", several.catalog, models=self.family, device="cpu")
        with pytest.raises(SettingError, match="chooses among 2 pictures by a judge and has none"):
            again.generate(self.episodes[:1], rng=Rng(0))
        again.judged_by(several.judge)
        assert again.fingerprint == several.fingerprint
        one, other = (g.generate(self.episodes[:1], rng=Rng(0)).pixels for g in (several, again))
        assert torch.equal(one, other)
        again.judged_by(self.judged(-1.0, candidates=2).judge)
        assert again.fingerprint != several.fingerprint  # the same weights, and other pictures

    def test_more_candidates_than_looks_are_drawn_again_from_other_noise(self):
        proposals = self.judged(looks=2, candidates=5)._ready.proposals(self.episodes[:1], 5)[0]
        assert [p.prior for p in proposals[:2]] * 2 == [p.prior for p in proposals[:4]]
        assert torch.equal(proposals[0].conditions.states, proposals[4].conditions.states)

    def candidate(self, generator, episode, c):
        """The picture of the c-th look alone."""
        (looks,), noise = generator._ready.ranked([episode]), Rng(0).for_("noise", episode.id, 0)
        text = generator._evidence.text(episode.reference, looks.keywords[c])
        states = generator._sampler.states([text])[0]
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
        bold = self.fitted()._evidence.looks(self.episodes)
        careful = self.fitted(caution=1000.0)._evidence.looks(self.episodes)
        for one, other in zip(bold, careful, strict=True):
            assert (one.changed == 0).sum() == 1
            assert other.changed[0] == 0
            assert other.gain[0] == pytest.approx(0)
            assert other.sd[0] == pytest.approx(0)

    def test_evidence_by_caption_is_one_look_by_the_papers_keywords(self):
        generator = self.fitted(evidence="caption", k=2)
        for one, key in zip(
            generator._evidence.looks(self.episodes),
            generator._evidence.of(self.episodes).keys,
            strict=True,
        ):
            assert len(one.keywords) == 1
            assert key.endswith(", ".join(one.keywords[0]))
