"""The generator contract for ``ragar_dpo``, with a judge that likes bright pictures, and what is its own."""

from functools import partial
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch
from test_ragar_taste_contract import words_of_titles  # noqa: F401 - a fixture
from tiny_ranker import Brightness, LikesBright, SureOfBright

from generators.denoising import Denoising
from generators.ragar.action import TrainingContext
from generators.ragar.generator import RAGARTaste
from generators.ragar.judge import PictureJudge
from generators.ragar.pairs import PairDrawing
from generators.sampler import Sampler
from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.testing.generator_contract import TrainedGeneratorContract, tiny  # noqa: F401 - a fixture

SMALL = {
    "encoder": "tiny_ranker:Brightness",
    "candidates": 1,
    "looks": 4,
    "pairs": 5,
    "noises": 2,
    "steps": 3,
    "batch_size": 2,
    "reward_steps": 1,
    "lora_rank": 2,
}


class TestRAGARDPO(TrainedGeneratorContract):
    name = "ragar_dpo"
    settings: ClassVar = SMALL

    @pytest.fixture(autouse=True)
    def _bright(self, _world):
        pictures = [self.catalog.images.read(row) for row in range(len(self.catalog))]
        self.plain = self.catalog
        self.catalog = self.catalog.with_features("image", None, Brightness().encode_images(pictures))

    def make(self, sign=1.0, **settings):
        """Where it learns, it learns from that judge unless another one is given."""
        made = super().make(**settings)
        if made.uses_ranker:
            made.fit = partial(made.fit, ranker=SureOfBright(self.catalog, sign))
        return made

    def test_features_of_the_catalogue_do_not_matter(self):
        """Without a judge, that is."""
        x = np.random.default_rng(0).standard_normal((len(self.catalog), 3))
        other = self.plain.with_features("image", None, x)
        made = [
            self.make(reward="none").fit(c, self.shop.episodes, rng=Rng(0)) for c in (other, self.catalog)
        ]
        assert made[0].fingerprint == made[1].fingerprint

    def test_frozen_models_may_have_half_precision(self):
        """What learns has float32 all the same, and learns nearly the same."""
        (half, _), (other, _) = self.trained(dtype="bfloat16"), self.trained(Rng(1))
        one, same, another = (
            {name: x for name, x in made.weights().items() if name.startswith("unet.")}
            for made in (self.fitted(), half, other)
        )
        assert {(name, x.shape) for name, x in same.items()} == {(name, x.shape) for name, x in one.items()}
        assert {x.dtype for x in same.values()} == {torch.float32}
        apart, strange = (
            sum((x - weights[name]).square().sum() for name, x in one.items()) for weights in (same, another)
        )
        assert 0 < apart < 0.25 * strange
        assert half.generate(self.episodes, rng=Rng(0)).pixels.isfinite().all()

    def test_it_asks_for_a_judge_where_it_learns_or_chooses_by_one(self):
        assert not super().make(reward="none").uses_ranker
        for settings in ({}, {"reward": "none", "candidates": 2}):
            made = super().make(**settings)
            assert made.uses_ranker
            assert made.weighs_doubt
            with pytest.raises(SettingError, match=r"ragar_dpo learns from a ranker's scores.*--judges"):
                made.fit(self.catalog, self.shop.episodes, rng=Rng(0))

    def test_without_a_reward_it_draws_what_ragar_taste_starts_with(self):
        """To the bit: the control has another name and no LoRA."""
        mine = self.make(reward="none").fit(self.catalog, self.shop.episodes, rng=Rng(0))
        settings = {"encoder": SMALL["encoder"], "reward": "none", "candidates": 1, "looks": 4}
        other = RAGARTaste(models=self.family, device="cpu", **settings)
        other.fit(self.catalog, self.shop.episodes, rng=Rng(0))
        one, two = (g.generate(self.episodes, rng=Rng(0)).pixels for g in (mine, other))
        assert torch.equal(one, two)
        assert mine.weights().keys() == other.weights().keys()
        assert not torch.equal(one, self.fitted().generate(self.episodes, rng=Rng(0)).pixels)

    def test_the_familys_models_are_left_as_they_were(self):
        pipeline = self.family.diffusion(device="cpu")
        before = {name: x.clone() for name, x in pipeline.unet.state_dict().items()}
        self.make().fit(self.catalog, self.shop.episodes, rng=Rng(0)).generate(self.episodes[:1], rng=Rng(0))
        after = pipeline.unet.state_dict()
        assert before.keys() == after.keys()
        assert all(torch.equal(x, after[name]) for name, x in before.items())

    def test_fitted_again_it_forgets_what_it_had_learned(self):
        made = self.make()
        for episodes in (self.shop.episodes[:5], self.shop.episodes):
            made.fit(self.catalog, episodes, rng=Rng(0))
        assert made.fingerprint == self.fitted().fingerprint
        one, two = (g.generate(self.episodes, rng=Rng(0)).pixels for g in (made, self.fitted()))
        assert torch.equal(one, two)

    @pytest.mark.parametrize("sign", [1.0, -1.0])
    def test_the_better_picture_of_a_pair_is_the_one_that_the_judge_likes_most(self, sign, monkeypatch):
        seen, undisturbed = [], Denoising.encoded

        def watched(denoising, pixels, random):
            seen.append(pixels.unflatten(0, (-1, 2)))
            return undisturbed(denoising, pixels, random)

        monkeypatch.setattr(Denoising, "encoded", watched)
        self.make(sign).fit(self.catalog, self.shop.episodes, rng=Rng(0))
        better, worse = torch.cat(seen).mean((2, 3, 4)).T
        assert len(better) == SMALL["pairs"]
        assert (sign * (better - worse) > 0).all()

    def test_one_that_says_no_doubt_is_asked_for_its_scores(self):
        made = (
            super().make().fit(self.catalog, self.shop.episodes, ranker=LikesBright(self.catalog), rng=Rng(0))
        )
        other, mine = made.weights(), self.fitted().weights()
        assert all(torch.equal(x, other[name]) for name, x in mine.items())

    def test_the_judges_word_and_not_its_numbers_count(self, monkeypatch):
        """Another order teaches something else; another scale nothing."""
        weights = self.fitted().weights()
        other = self.make(-1.0).fit(self.catalog, self.shop.episodes, rng=Rng(0)).weights()
        scaled = self.make(3.0).fit(self.catalog, self.shop.episodes, rng=Rng(0)).weights()
        assert all(torch.equal(x, scaled[name]) for name, x in weights.items())
        learned = [name for name in weights if name.startswith("unet.")]
        assert all(not torch.equal(weights[name], other[name]) for name in learned)

    def test_a_judge_to_whom_all_pictures_are_alike_is_told(self):
        made = super().make()
        with pytest.raises(DataError, match="tells apart are wanted, it finds all of 5 episodes alike"):
            made.fit(self.catalog, self.shop.episodes, ranker=SureOfBright(self.catalog, 0.0), rng=Rng(0))

    def test_a_killed_training_ends_with_the_same_weights(self, tmp_path, monkeypatch):
        """Killed while it draws pairs, and again while it learns: nothing is done twice."""
        whole = self.fitted().fingerprint
        monkeypatch.setattr("recsim_gen.core.training_loop.SECONDS_BETWEEN_CHECKPOINTS", -1.0)
        drawn, asked = [], []
        draw, bounds = Sampler.draw, PictureJudge.bounds

        def drawing(sampler, *args, **kwargs):
            drawn.append(1)
            return draw(sampler, *args, **kwargs)

        def killed_once(judge, *args):
            asked.append(1)
            if len(asked) == 2:
                raise KeyboardInterrupt
            return bounds(judge, *args)

        monkeypatch.setattr(Sampler, "draw", drawing)
        monkeypatch.setattr(PictureJudge, "bounds", killed_once)
        fit = {"rng": Rng(0), "work": tmp_path}
        with pytest.raises(KeyboardInterrupt):
            self.make().fit(self.catalog, self.shop.episodes, **fit)
        steps, predicted = [], Denoising.predicted

        def killed_too(denoising, *args, **kwargs):
            steps.append(1)
            if len(steps) == 4:  # the second of two predictions of the second step
                raise KeyboardInterrupt
            return predicted(denoising, *args, **kwargs)

        monkeypatch.setattr(Denoising, "predicted", killed_too)
        with pytest.raises(KeyboardInterrupt):
            self.make().fit(self.catalog, self.shop.episodes, **fit)
        again = self.make().fit(self.catalog, self.shop.episodes, **fit)
        assert again.fingerprint == whole
        assert len(drawn) == 1 + 3  # parts of 2, 2 and 1 pairs, and the one that was killed
        assert len(steps) == 2 + 2 * SMALL["steps"]
        assert list(tmp_path.iterdir()) == []

    def test_processes_share_the_drawing_of_pairs(self, tmp_path, monkeypatch):
        """One draws every second part; the other the rest, and finds those of the first."""
        made = self.fitted()
        judge = made._picture_judge(SureOfBright(self.catalog))

        def pairs(folder):
            drawing = PairDrawing(made._action, made._action.denoising(), judge, self.shop.episodes)
            return drawing(SMALL["pairs"], TrainingContext(Rng(0), tmp_path / folder, "data", "", None))

        def team(index, wait):
            return lambda: SimpleNamespace(index=index, count=2, wait=wait)

        def left_alone():
            raise KeyboardInterrupt

        alone = pairs("alone")
        monkeypatch.setattr("generators.ragar.pairs.Team", team(1, left_alone))
        with pytest.raises(KeyboardInterrupt):
            pairs("shared")
        (folder,) = (tmp_path / "shared").iterdir()
        assert [file.name for file in folder.iterdir()] == ["00000002.npz"]
        monkeypatch.setattr("generators.ragar.pairs.Team", team(0, lambda: None))
        shared = pairs("shared")
        assert shared.texts == alone.texts
        assert torch.equal(shared.latents, alone.latents)
        (folder / "00000002.npz").write_bytes(b"")
        with pytest.raises(DataError, match=r"00000002.npz.*broken file.*Delete it"):
            pairs("shared")

    def test_weights_of_other_settings_are_told(self):
        other = super().make(lora_rank=3, reward="none").fit(self.catalog, self.shop.episodes, rng=Rng(0))
        with pytest.raises(DataError, match=r"of LoRA on the UNet must be \(3, \d+\), got \(2, \d+\)"):
            other.restore(self.fitted().weights())

    def test_settings_that_cannot_be_are_told(self):
        for wrong in ({"pairs": 0}, {"beta": 0.0}, {"action": "states"}):
            with pytest.raises(SettingError, match=next(iter(wrong))):
                self.make(**wrong)

    def test_curves_are_tracked(self):
        told = {}

        class Tracker:
            def child(self, variant):
                assert variant == "ragar-dpo"
                return self

            def log_epoch(self, epoch, numbers, prefix=""):
                told[epoch] = numbers

        self.make(steps=10).fit(self.catalog, self.shop.episodes, rng=Rng(0), tracker=Tracker())
        assert {step: set(numbers) for step, numbers in told.items()} == {10: {"loss", "accuracy", "margin"}}
