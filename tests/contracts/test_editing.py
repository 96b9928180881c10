"""The generator contract for ``edit`` and ``instruct_edit``, and what is their own."""

import tempfile
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import tiny_pipelines
import torch
from test_generators import as_real
from test_ragar_taste_contract import words_of_titles  # noqa: F401 - a fixture

from generators.denoising import Denoising
from generators.images import image_of, to_pixels
from recsim_gen.core.errors import DataError, MissingDependency, SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.registry import GENERATORS, resolve
from recsim_gen.testing.generator_contract import (
    GeneratorContract,
    TrainedGeneratorContract,
    tiny,  # noqa: F401 - a fixture
)


class EditorContract(GeneratorContract):
    """What every editor must hold."""

    def test_the_references_picture_plays_a_part(self, monkeypatch):
        """Another picture under the same words and noise gives another one."""
        generator, (episode, other) = self.fitted(), self.episodes[:2]
        one = generator.generate([episode], rng=Rng(0)).pixels
        instead = self.catalog.images.read(other.reference)
        monkeypatch.setattr("generators.editing.editor.image_of", lambda catalog, row: instead)
        assert not torch.equal(one, generator.generate([episode], rng=Rng(0)).pixels)

    def test_another_taste_gives_other_words(self):
        generator, episode = self.of_strong_tastes(), self.episodes[0]
        histories = [tuple(i for i in e.history if i != episode.reference) for e in self.shop.episodes]
        assert len({generator.words(replace(episode, history=history)) for history in histories}) > 1

    def of_strong_tastes(self):
        """Fitted anew; choices of so few people show no tastes, so it is told that there are some."""
        generator = self.make(**({} if self.name == "edit" else {"steps": 1}))
        taste = generator.fit(self.catalog, self.shop.episodes, rng=Rng(0))._evidence.taste
        count = len(taste.model.agreement)
        taste.model = replace(
            taste.model, strength=10 + 0 * taste.model.strength, agreement=np.ones((count, count))
        )
        return generator

    def test_a_reference_without_picture_is_told(self):
        bare = self.make().fit(replace(self.catalog, images=None), self.shop.episodes, rng=Rng(0))
        with pytest.raises(DataError, match="has no picture"):
            bare.generate(self.episodes[:1], rng=Rng(0))

    def test_without_histories_there_is_no_taste_to_learn(self):
        with pytest.raises(DataError, match="histories to learn tastes from are wanted"):
            self.make().fit(self.catalog, (), rng=Rng(0))


class TestEdit(EditorContract):
    name = "edit"
    settings: ClassVar = {"draw_steps": 4, "strength": 0.5}

    def test_it_draws_what_diffusers_draws(self):
        from diffusers import StableDiffusionImg2ImgPipeline

        generator, episode = self.fitted(), self.episodes[0]
        parts = replace(self.family).diffusion(device="cpu").components
        drawn = StableDiffusionImg2ImgPipeline(**parts, requires_safety_checker=False)(
            generator.words(episode),
            to_pixels(image_of(self.catalog, episode.reference), 32)[None],
            strength=0.5,
            num_inference_steps=4,
            guidance_scale=self.family.guidance,
            generator=Rng(0).for_("noise", episode.id, 0).for_("edit").torch(),
            output_type="pt",
        ).images
        own = generator.generate([episode], rng=Rng(0)).pixels
        assert torch.allclose(own, drawn, atol=1e-5)

    def test_the_less_strength_the_more_is_kept(self):
        """By the family that ships; strength 1 leaves nothing but what the words say."""
        own = torch.stack([to_pixels(image_of(self.catalog, e.reference)) for e in self.episodes])
        apart = []
        for strength in (0.2, 0.6, 1.0):
            made = type(self.make())(device="cpu", prompt="caption", strength=strength, draw_steps=5)
            pixels = made.fit(self.catalog, (), rng=Rng(0)).generate(self.episodes, rng=Rng(0)).pixels
            apart.append(float((pixels - own).abs().mean()))
        assert apart[0] < 0.7 * apart[1] < 0.7 * apart[2]

    @pytest.mark.parametrize(
        ("prompt", "other", "settings"),
        [
            ("caption", "sd", {}),
            ("keywords", "keywords", {}),
            ("taste", "ragar_taste", {"reward": "none", "candidates": 1, "encoder": "pixels"}),
        ],
    )
    def test_its_prompts_are_those_of_the_generators_that_draw_from_noise(self, prompt, other, settings):
        theirs = resolve(other, GENERATORS, "generator")(models=self.family, device="cpu", **settings)
        theirs.fit(self.catalog, self.shop.episodes, rng=Rng(0))
        own = self.fitted(prompt=prompt)
        assert own.learns == (prompt == "taste")
        assert [own.words(e) for e in self.episodes] == [theirs.words(e) for e in self.episodes]

    @pytest.mark.parametrize("prompt", ["caption", "keywords"])
    def test_what_learns_nothing_needs_no_histories(self, prompt, tmp_path):
        generator = self.make(prompt=prompt).fit(self.catalog, (), rng=Rng(0))
        generator.save(tmp_path)
        again = type(generator).load(tmp_path, self.catalog, models=self.family, device="cpu")
        one, other = (g.generate(self.episodes[:1], rng=Rng(0)).pixels for g in (generator, again))
        assert torch.equal(one, other)
        with pytest.raises(SettingError, match="learned nothing of its own"):
            generator.export(tmp_path, ())

    def test_a_strength_that_cannot_be_is_told(self):
        for strength in (0.0, 1.5):
            with pytest.raises(
                SettingError, match=rf"strength must be above 0 and at most 1, got {strength}"
            ):
                self.make(strength=strength)
        with pytest.raises(
            SettingError, match=r"draw_steps times strength must be 1 or more, got 4 times 0.2"
        ):
            self.make(strength=0.2)


class TestInstructEdit(EditorContract, TrainedGeneratorContract):
    name = "instruct_edit"
    settings: ClassVar = {"steps": 4, "batch_size": 2, "pairs": 6, "draw_steps": 2}

    def trained(self, *args, **family):
        """In a cache of its own: what was trained alike would be found."""
        with tempfile.TemporaryDirectory() as cache, pytest.MonkeyPatch.context() as patch:
            patch.setenv("RECSIM_CACHE", cache)
            return super().trained(*args, **family)

    def test_guidances_share_what_was_learned(self, monkeypatch):
        self.fitted()
        monkeypatch.setattr(Denoising, "predicted", None)
        more = self.make(guidance=4.0).fit(self.catalog, self.shop.episodes, rng=Rng(0))
        one, other = (g.weights() for g in (self.fitted(), more))
        assert all(torch.equal(one[name], x) for name, x in other.items())
        drawn = [g.generate(self.episodes[:1], rng=Rng(0)).pixels for g in (self.fitted(), more)]
        assert not torch.equal(*drawn)

    def test_it_is_told_the_look_that_is_liked(self):
        generator = self.of_strong_tastes()
        said = [generator.words(episode) for episode in self.shop.episodes]
        for told, episode in zip(said, self.shop.episodes, strict=True):
            (looks,) = generator._evidence.looks([episode])
            assert told == f"make it {', '.join(looks.keywords[0])}"
        assert len(set(said)) > 1

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

    def test_training_lowers_the_loss(self, monkeypatch):
        losses, undisturbed = [], Denoising.predicted

        def predicted(*args, **kwargs):
            found = undisturbed(*args, **kwargs)
            losses.append(float(torch.nn.functional.mse_loss(*found).detach()))
            return found

        monkeypatch.setattr(Denoising, "predicted", predicted)
        self.make(steps=40, lr=0.01, batch_size=8).fit(self.catalog, self.shop.episodes, rng=Rng(0))
        assert sum(losses[-10:]) < sum(losses[:10])

    def test_a_killed_training_ends_with_the_same_weights(self, tmp_path, monkeypatch):
        undisturbed, whole, calls = Denoising.predicted, self.fitted().fingerprint, []
        monkeypatch.setenv("RECSIM_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr("recsim_gen.core.training_loop.SECONDS_BETWEEN_CHECKPOINTS", -1.0)

        def killed(*args, **kwargs):
            calls.append(1)
            if len(calls) == 3:
                raise KeyboardInterrupt
            return undisturbed(*args, **kwargs)

        monkeypatch.setattr(Denoising, "predicted", killed)
        with pytest.raises(KeyboardInterrupt):
            self.make().fit(self.catalog, self.shop.episodes, rng=Rng(0), work=tmp_path / "work")
        again = self.make().fit(self.catalog, self.shop.episodes, rng=Rng(0), work=tmp_path / "work")
        assert len(calls) == 1 + self.settings["steps"]
        assert again.fingerprint == whole
        assert list((tmp_path / "work").iterdir()) == []

    def test_the_familys_models_are_left_as_they_were(self):
        pipeline = self.family.diffusion(device="cpu")
        before = {name: x.clone() for name, x in pipeline.unet.state_dict().items()}
        self.make().fit(self.catalog, self.shop.episodes, rng=Rng(0)).generate(self.episodes[:1], rng=Rng(0))
        after = pipeline.unet.state_dict()
        assert before.keys() == after.keys()
        assert all(torch.equal(before[name], x) for name, x in after.items())

    def test_weights_of_other_models_are_told(self):
        generator = self.fitted()
        weights = {**generator.weights(), "unet.conv_in.bias": torch.zeros(3)}
        with pytest.raises(
            DataError, match=r"weights 'conv_in.bias' must be \(8,\), got \(3,\).*Train again"
        ):
            generator.restore(weights)

    def test_published_weights_are_taken_as_they_are(self, tmp_path):
        """Of any data; diffusers' own pipeline draws the same from them."""
        from diffusers import StableDiffusionInstructPix2PixPipeline

        folder = tiny_pipelines.save_instruct_pix2pix(tmp_path)
        family = self.family.with_models(instruct_pix2pix=str(folder))
        editor, real = type(self.make()), as_real(self.catalog)
        generator = editor(models=family, device="cpu", draw_steps=2, guidance=3.0)
        generator.fit(real, self.shop.episodes, rng=Rng(0))
        assert not any(name.startswith("unet.") for name in generator.weights())
        episode = self.episodes[0]
        pixels = generator.generate([episode], rng=Rng(0)).pixels
        by_hand = StableDiffusionInstructPix2PixPipeline.from_pretrained(
            folder, safety_checker=None, feature_extractor=None, requires_safety_checker=False
        )
        drawn = by_hand(
            generator.words(episode),
            to_pixels(image_of(real, episode.reference), 32)[None],
            num_inference_steps=2,
            guidance_scale=3.0,
            image_guidance_scale=generator.config.image_guidance,
            generator=Rng(0).for_("noise", episode.id, 0).for_("edit").torch(),
            output_type="pt",
        ).images
        assert torch.allclose(pixels, drawn, atol=1e-5)
        generator.save(tmp_path / "saved")
        again = editor.load(tmp_path / "saved", real, models=family, device="cpu")
        assert torch.equal(pixels, again.generate([episode], rng=Rng(0)).pixels)

    def test_weights_that_see_no_picture_are_told(self, tmp_path):
        folder = tiny_pipelines.save_image_to_image(tmp_path)
        family = self.family.with_models(instruct_pix2pix=str(folder))
        with pytest.raises(DataError, match=r"a UNet with 8 input channels is wanted, .* got one with 4"):
            family.instruct_pix2pix(device="cpu")

    def test_missing_weights_are_told_in_one_line(self, tmp_path):
        place = str(tmp_path / "nowhere")
        family = replace(self.family.with_models(instruct_pix2pix=place), licences={place: "MIT"})
        with pytest.raises(
            MissingDependency, match=r"instruct_pix2pix .*\(licence: MIT\) is missing"
        ) as told:
            family.require("instruct_pix2pix")
        assert "Put its files there, as save_pretrained writes them" in str(told.value)
        assert "\n" not in str(told.value)

    def test_elsewhere_than_in_boutique_it_asks_for_weights(self):
        with pytest.raises(SettingError, match=r"name weights, `instruct_pix2pix: FOLDER`"):
            self.make().fit(as_real(self.catalog), self.shop.episodes, rng=Rng(0))

    def test_settings_out_of_range_are_told(self):
        with pytest.raises(SettingError, match=r"guidance must be 1 \(none\) or more, got 0.5"):
            self.make(guidance=0.5)
        with pytest.raises(SettingError, match="drop must be in"):
            self.make(drop=0.4)
        with pytest.raises(SettingError, match="pairs must be 1 or more, got 0"):
            self.make(pairs=0)
