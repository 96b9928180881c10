"""The contract of subject-driven methods, for those that look at a picture of it."""

from dataclasses import replace
from typing import ClassVar

import pytest
import torch

from recsim_gen.core.errors import DataError
from recsim_gen.core.randomness import Rng
from recsim_gen.testing.generator_contract import tiny  # noqa: F401 - a fixture
from recsim_gen.testing.subject_contract import SubjectContract


class TestIPAdapter(SubjectContract):
    name = "ip_adapter"
    settings: ClassVar = {"steps": 4, "batch_size": 2}
    looks = True

    def test_the_scale_counts(self):
        weights = self.taught().weights()
        pictures = []
        for scale in (0.0, 1.0):
            method = self.make(scale=scale)
            method.restore(weights)
            pictures.append(self.drawn(method.fit(self.one, rng=Rng(0)))[0])
        assert not torch.equal(*pictures)

    def test_the_family_may_bring_it(self, tmp_path):
        family = self.published(tmp_path, width=20)
        method = type(self.make())(models=family, device="cpu")
        assert not method.learns_from_others
        method.learn([], rng=Rng(0)).fit(self.one, rng=Rng(0))
        one, two = (method.draw("a {subject}", x.images[0], noise=Rng(0)) for x in (self.one, self.other))
        assert not torch.equal(one, two)

    def test_an_adapter_of_another_width_is_told(self, tmp_path):
        method = type(self.make())(models=self.published(tmp_path, width=20, made_for=28), device="cpu")
        with pytest.raises(DataError, match=r"\(\d+, 20\), got \(\d+, 28\).*another image encoder"):
            method.fit(self.one, rng=Rng(0))

    def test_diffusers_reads_its_weights(self):
        method = self.taught()
        pipeline = replace(self.family).diffusion(device="cpu")
        parts = {"image_proj": {}, "ip_adapter": {}}
        for name, x in method.weights().items():
            part, _, key = name.partition(".")
            parts[part][key] = x.clone()
        pipeline.load_ip_adapter(parts, subfolder="", weight_name="", image_encoder_folder=None)
        theirs, ours = pipeline.unet.state_dict(), method.ready().pipeline.unet.state_dict()
        assert theirs.keys() == ours.keys()
        assert all(torch.equal(theirs[name], ours[name]) for name in ours)

    def published(self, folder, *, width, made_for=None):
        """The family with a folder like the published repository: an image encoder, a random adapter."""
        from safetensors.torch import save_file
        from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

        size = {"intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
        config = CLIPVisionConfig(
            hidden_size=width, **size, image_size=32, patch_size=8, projection_dim=width
        )
        torch.manual_seed(0)
        CLIPVisionModelWithProjection(config).save_pretrained(folder / "models" / "image_encoder")
        unet = self.family.diffusion(device="cpu").unet
        save_file(self.random(unet, made_for or width), folder / type(self.make()).file)
        return self.family.with_models(ip_adapter=str(folder))

    def random(self, unet, width):
        from generators.adapter import untrained

        return untrained(unet, width, Rng(0))


class TestIPAdapterPlus(TestIPAdapter):
    name = "ip_adapter_plus"
    settings: ClassVar = {"steps": 4, "batch_size": 2, "queries": 3, "hidden": 64}

    def random(self, unet, width):
        from generators.resampler import untrained

        return untrained(unet, width, Rng(0), hidden=64, queries=5)

    def test_it_is_what_diffusers_makes_of_the_picture(self, tmp_path):
        """The published file and encoder by the pipeline's own call, which encodes the picture itself."""
        from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

        family = self.published(tmp_path, width=20)
        method = type(self.make())(models=replace(family, guidance=2.0), device="cpu").fit(
            self.one, rng=Rng(0)
        )
        ours = method.draw("a {subject}", self.one.images[0], noise=Rng(0))
        pipeline = replace(family).diffusion(device="cpu")
        pipeline.register_modules(
            image_encoder=CLIPVisionModelWithProjection.from_pretrained(tmp_path / "models/image_encoder"),
            feature_extractor=CLIPImageProcessor(
                size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
            ),
        )
        pipeline.load_ip_adapter(
            str(tmp_path),
            subfolder="models",
            weight_name="ip-adapter-plus_sd15.safetensors",
            image_encoder_folder=None,
        )
        pipeline.set_ip_adapter_scale(0.6)
        sampler = method.ready()
        theirs = pipeline(
            "a bag",
            ip_adapter_image=self.one.images[0],
            latents=sampler.latents(Rng(0))[None],
            generator=Rng(0).for_("steps").torch(),
            num_inference_steps=sampler.steps,
            guidance_scale=2.0,
            height=sampler.size,
            width=sampler.size,
            output_type="pt",
        ).images[0]
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)

    def test_a_plain_adapter_is_told(self):
        with pytest.raises(DataError, match="layers of a resampler are wanted"):
            self.make().restore({"image_proj.proj.weight": torch.zeros(64, 24)})
