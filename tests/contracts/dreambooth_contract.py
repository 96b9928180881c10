"""DreamBooth's contract: what holds of all of the UNet, or of LoRA on it."""

from dataclasses import replace
from typing import ClassVar

import pytest
import torch

from recsim_gen.core.errors import SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.testing.subject_contract import SubjectContract


def likeness(sampler, pictures, prompt):
    """How well a model denoises pictures (minus MSE), on the same noise for all models."""
    from generators.denoising import Denoiser

    pixels = torch.stack([*pictures] * 8)
    states = sampler.states([prompt]).expand(len(pixels), -1, -1)
    with torch.no_grad():
        predicted, right = Denoiser(sampler).on_pixels(pixels, states, Rng(5).torch())
    return -float((predicted - right).square().mean())


class DreamBoothContract(SubjectContract):
    """For those of which the subject is called by a rare word, and whose model learns it."""

    learns = True
    small_steps: ClassVar = {}  # at which what is learned of one picture does not drown what is of others

    def test_fitting_raises_the_likeness_of_its_pictures(self):
        from generators.images import to_pixels

        sampler = self.sampler()
        own = [to_pixels(image, sampler.size) for image in self.one.images]
        before = likeness(sampler, own, "sks bag")
        method = self.make(steps=40).fit(self.one, rng=Rng(0))
        assert likeness(method.ready(), own, "sks bag") > before + 0.02

    def test_pictures_of_its_kind_hold_the_model(self):
        """What the model drew of its kind stays likelier where it learns from that, too."""
        kept = []
        for weight in (0.0, 5.0):
            method = self.make(steps=60, prior_weight=weight, **self.small_steps).fit(self.one, rng=Rng(0))
            kept.append(likeness(method.ready(), method._prior("bag", Rng(0)), "bag"))
        assert kept[1] > kept[0]

    def sampler(self):
        from generators.sampler import Sampler

        return Sampler(replace(self.family), "cpu")

    def test_the_rare_word_stands_before_what_it_is(self):
        method = self.make(token="zwx").fit(self.one, rng=Rng(0))
        assert method.words("a {subject} on a shelf") == "a zwx bag on a shelf"

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"steps": 0}, "steps must be 1 or more"),
            ({"prior_weight": -1.0}, "prior_weight must be 0 or more"),
            ({"token": " "}, "token must be a word"),
            ({"train_prompt": "a bag"}, r"a prompt with \{subject\}"),
        ],
    )
    def test_settings_that_cannot_be_are_told(self, settings, message):
        with pytest.raises(SettingError, match=message):
            self.make(**settings)

    def test_the_paper_has_its_own_values(self):
        paper = self.make(recipe="paper").config
        assert (paper.prior_weight, paper.token) == (0.5, "sks")
        assert type(self.make())(models="paper", device="cpu").config.steps in (500, 800)
