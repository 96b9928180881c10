"""The generator contract, for each generator."""

from dataclasses import replace
from typing import ClassVar

import pytest
import torch
from generator_contract import GeneratorContract, tiny  # noqa: F401 - a fixture

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.randomness import Rng


class TestOriginal(GeneratorContract):
    name = "original"
    still = True
    uses_models = False

    def test_it_gives_every_bit_of_the_picture(self):
        pixels = self.fitted().generate(self.episodes, rng=Rng(0)).pixels
        for row, episode in zip(pixels, self.episodes, strict=True):
            own = torch.tensor(self.catalog.images.pixels[episode.reference]).permute(2, 0, 1)
            assert torch.equal((row * 255).round().to(torch.uint8), own)

    def test_an_item_without_picture_is_told(self):
        bare = self.make().fit(replace(self.catalog, images=None), (), rng=Rng(0))
        with pytest.raises(DataError, match="has no picture"):
            bare.generate(self.episodes[:1], rng=Rng(0))


class TestPlacebo(GeneratorContract):
    name = "placebo"
    uses_models = False


class TestOracle(GeneratorContract):
    name = "oracle"
    uses_models = False


class TestStableDiffusion(GeneratorContract):
    name = "sd"
    settings: ClassVar = {"prompt": "a photo of {caption}"}

    def test_it_reads_the_caption_and_nothing_of_the_person(self):
        """Another reader of the same caption gets the same picture, another caption gives another."""
        generator = self.fitted()
        captions = self.catalog.captions.copy()
        episode = self.episodes[0]
        other = replace(episode, user=5, source_user="x", history=episode.history[:1])
        captions[episode.reference] = "something else"
        told_otherwise = self.make().fit(replace(self.catalog, captions=captions), (), rng=Rng(0))
        one, same = (generator.generate([e], rng=Rng(0)).pixels for e in (episode, other))
        assert torch.equal(one, same)
        assert not torch.equal(one, told_otherwise.generate([episode], rng=Rng(0)).pixels)

    def test_without_guidance_the_empty_text_plays_no_part(self):
        """The picture is what the pipeline itself draws of the same latents."""
        from generators.sampler import Sampler

        for guidance in (1.0, 4.0):
            family = replace(self.family, guidance=guidance)
            sampler = Sampler(family, "cpu")
            noise = Rng(3).for_("noise", "e", 0)
            drawn = sampler.draw(sampler.states(["a red shirt"]), [noise])
            latents = sampler.latents(noise)[None]
            by_hand = sampler.pipeline(
                "a red shirt",
                latents=latents,
                num_inference_steps=2,
                guidance_scale=guidance,
                output_type="pt",
            )
            assert torch.equal(drawn, by_hand.images)

    def test_an_item_without_text_is_told(self):
        nothing = [""] * len(self.catalog)
        bare = self.make().fit(replace(self.catalog, captions=nothing, titles=nothing), (), rng=Rng(0))
        with pytest.raises(DataError, match=r"item 'i\d+' has no caption and title.*recsim_gen.caption"):
            bare.generate(self.episodes[:1], rng=Rng(0))

    def test_a_wrong_prompt_is_told(self):
        with pytest.raises(SettingError, match=r"unknown field 'captoin'.*Did you mean 'caption'"):
            self.make(prompt="{captoin}")
        with pytest.raises(SettingError, match="is no template"):
            self.make(prompt="{caption")
