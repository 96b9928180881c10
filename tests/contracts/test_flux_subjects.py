"""The contract of subject-driven methods, for those on FLUX with tiny weights; and their arithmetic."""

from typing import ClassVar

import pytest
import tiny_pipelines
import torch
from flux_contract import SMALL, FluxContract

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.testing.generator_contract import tiny  # noqa: F401 - a fixture


class TestKontext(FluxContract):
    name = "kontext"
    folders: ClassVar = {"weights": "flux_kontext"}
    settings: ClassVar = {**SMALL, "shown": 16, "resize": False}

    def test_it_is_what_the_pipeline_draws(self):
        from diffusers import FluxKontextPipeline

        method = self.make().fit(self.one, rng=Rng(0))
        pipeline = FluxKontextPipeline.from_pretrained(self.settings["weights"])
        theirs = pipeline(
            image=self.one.images[0].resize((16, 16)),
            prompt="a bag",
            height=16,
            width=16,
            max_area=256,
            num_inference_steps=2,
            guidance_scale=5.0,
            max_sequence_length=16,
            generator=Rng(0).for_("pipeline").torch(),
            output_type="pt",
            _auto_resize=False,
        ).images[0]
        ours = method.draw("a {subject}", self.one.images[0], noise=Rng(0))
        torch.testing.assert_close(ours, theirs.clamp(0, 1), atol=1e-5, rtol=0)


class TestDiptych(FluxContract):
    name = "diptych"
    folders: ClassVar = {"weights": "flux", "controlnet": "flux_inpainting"}
    settings: ClassVar = {**SMALL, "margin": 2, "size": 12, "text_length": 256}

    def test_the_boost_counts(self):
        pictures = [
            self.make(boost=boost)
            .fit(self.one, rng=Rng(0))
            .draw("a {subject}", self.one.images[0], noise=Rng(0))
            for boost in (1.0, 1.3)
        ]
        assert pictures[0].shape == (3, 12, 12)
        assert not torch.equal(*pictures)

    def test_without_a_boost_attention_is_diffusers_own(self):
        from generators.subjects.diptych import BoostedAttention

        for attention, text, ids in self.attentions():
            own = attention(**text, image_rotary_emb=ids)
            attention.set_processor(BoostedAttention(2, 4, 1.0))
            ours = attention(**text, image_rotary_emb=ids)
            for one, two in zip(own, ours, strict=True) if isinstance(own, tuple) else [(own, ours)]:
                torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-4)

    def test_the_boost_multiplies_probabilities_of_the_right_for_the_left(self):
        """By hand, in the single stream: softmax first, and nothing is normalised again."""
        from diffusers.models.embeddings import apply_rotary_emb

        from generators.subjects.diptych import BoostedAttention

        attention, text, ids = self.attentions()[1]
        x = text["hidden_states"]
        attention.set_processor(BoostedAttention(2, 4, 1.3))
        ours = attention(hidden_states=x, image_rotary_emb=ids)
        q, k, v = (f(x).unflatten(-1, (2, 16)) for f in (attention.to_q, attention.to_k, attention.to_v))
        q, k = attention.norm_q(q), attention.norm_k(k)
        q, k = (apply_rotary_emb(z, ids, sequence_dim=1) for z in (q, k))
        probability = (torch.einsum("bqhd,bkhd->bhqk", q, k) / 4).softmax(-1)
        picture = probability[:, :, 3:, 3:].unflatten(2, (2, 4)).unflatten(4, (2, 4))
        picture[:, :, :, 2:, :, :2] *= 1.3
        probability[:, :, 3:, 3:] = picture.flatten(4, 5).flatten(2, 3)
        theirs = torch.einsum("bhqk,bkhd->bqhd", probability, v).flatten(2)
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)

    def attentions(self):
        """The attention of both kinds of blocks, with what goes in: 3 tokens of text, a picture of 2 × 4."""
        transformer = tiny_pipelines.flux_parts()["transformer"].requires_grad_(False)
        random = Rng(0).torch()
        words, shown = torch.randn(1, 3, 32, generator=random), torch.randn(1, 8, 32, generator=random)
        ids = transformer.pos_embed(torch.randint(8, (11, 3), generator=random).float())
        both = {"hidden_states": shown, "encoder_hidden_states": words}
        joined = {"hidden_states": torch.cat([words, shown], dim=1)}
        blocks = transformer.transformer_blocks[0].attn, transformer.single_transformer_blocks[0].attn
        return [(blocks[0], both, ids), (blocks[1], joined, ids)]

    def test_the_controlnet_is_told_which_half_is_kept(self):
        from generators.subjects.diptych import _with_mask

        _, told = _with_mask(None, (), {"controlnet_cond": torch.zeros(1, 8, 16)})
        mask = told["controlnet_cond"][0, :, 16:]
        assert mask.shape == (8, 4)
        assert mask[:, 0].tolist() == [1, 1, 0, 0] * 2

    def test_a_controlnet_without_the_mask_is_told(self, tmp_path):
        plain = tiny_pipelines.save_flux_inpainting(tmp_path / "plain", extra=0)
        method = self.make(controlnet=str(plain)).fit(self.one, rng=Rng(0))
        with pytest.raises(DataError, match="with extra_condition_channels 4 is wanted"):
            method.draw("a {subject}", self.one.images[0], noise=Rng(0))

    def test_settings_that_cannot_be_are_told(self):
        with pytest.raises(SettingError, match="boost must be 0 or more"):
            self.make(boost=-1.0)
        with pytest.raises(SettingError, match="steps must be 1 or more"):
            self.make(steps=0)
        method = self.make(size=13).fit(self.one, rng=Rng(0))
        with pytest.raises(SettingError, match="must be a multiple of 4, got 17"):
            method.draw("a {subject}", self.one.images[0], noise=Rng(0))
