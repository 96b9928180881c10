"""The generator contract, for each generator."""

import threading
from dataclasses import replace
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.registry import GENERATORS, resolve
from recsim_gen.testing.generator_contract import GeneratorContract, LearnedGeneratorContract, tiny  # noqa: F401 - a fixture


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

    def test_it_is_another_picture_of_the_same_look(self):
        """Nearer to the item's own picture than to nine tenths of the other items'."""
        pixels = self.fitted().generate(self.episodes, rng=Rng(0)).pixels.numpy()
        shop = self.catalog.images.pixels.astype(np.float32).transpose(0, 3, 1, 2) / 255
        for x, episode in zip(pixels, self.episodes, strict=True):
            distance = np.square(shop - x).mean((1, 2, 3))
            assert distance[episode.reference] > 0
            assert (distance <= distance[episode.reference]).mean() <= 0.1

    def test_elsewhere_pictures_are_brought(self, tmp_path):
        real = as_real(self.catalog)
        with pytest.raises(SettingError, match=r"other real pictures.*set `images`"):
            self.make().fit(real, (), rng=Rng(0))
        episode = self.episodes[0]
        other = (episode.reference + 1) % len(real)
        real.images.read(other).save(tmp_path / f"{real.item_ids[episode.reference]}.png")
        placebo = self.make(images=str(tmp_path)).fit(real, (), rng=Rng(0))
        brought = placebo.generate([episode], rng=Rng(0)).pixels[0]
        assert (brought.numpy().transpose(1, 2, 0) * 255 == np.asarray(real.images.read(other))).all()
        with pytest.raises(DataError, match="has no other picture"):
            placebo.generate(self.episodes[1:2], rng=Rng(0))


class TestOracle(GeneratorContract):
    name = "oracle"
    uses_models = False

    def test_it_draws_what_the_user_likes_best(self):
        from generators.shop import drawn
        from recsim_gen.datasets.boutique.attributes import Attributes, all_codes

        pixels = self.fitted().generate(self.episodes, rng=Rng(0)).pixels
        for x, e in zip(pixels, self.episodes, strict=True):
            looks = all_codes(str(self.catalog.categories[e.reference]))
            best = looks[self.shop.utility(e.user, looks).argmax()]
            assert torch.equal(x, drawn(Attributes.of(best), Rng(0).for_("noise", e.id, 0)))

    def test_where_tastes_are_not_known_it_says_so(self):
        with pytest.raises(DataError, match=r"tastes must be known.*--data boutique"):
            self.make().fit(as_real(self.catalog), (), rng=Rng(0))


class TestOracleSD(GeneratorContract):
    name = "oracle_sd"

    def test_it_draws_the_words_for_what_the_user_likes_best(self):
        """As Stable Diffusion would draw them, had the item that caption."""
        from generators.shop import best_look

        captions = self.catalog.captions.copy()
        for e in self.episodes:
            captions[e.reference] = best_look(self.catalog, e).caption(e.reference)
        sd = TestStableDiffusion.plain(self.family).fit(
            replace(self.catalog, captions=captions), (), rng=Rng(0)
        )
        one, other = (g.generate(self.episodes, rng=Rng(0)).pixels for g in (self.fitted(), sd))
        assert torch.equal(one, other)

    def test_where_tastes_are_not_known_it_says_so(self):
        with pytest.raises(DataError, match=r"tastes must be known.*--data boutique"):
            self.make().fit(as_real(self.catalog), (), rng=Rng(0))


class TestKeywords(GeneratorContract):
    name = "keywords"

    def test_it_draws_the_keywords_that_ragar_draws_around(self):
        """The text of E_key, and so another for another history; the reference can have a say."""
        from generators.keywords import Keywords

        with pytest.MonkeyPatch.context() as patch:  # the tiny language model says the same of every item
            words = [str(title).split()[:-1] for title in self.catalog.titles]
            patch.setattr(Keywords, "of_all", lambda _: words)
            plain, counted = (
                self.make(reference=how).fit(self.catalog, (), rng=Rng(0)) for how in ("category", "counted")
            )
            evidence, (episode, other) = plain._evidence, self.episodes[:2]
            text = evidence.of([episode]).keys[0]
            assert text.startswith(str(self.catalog.categories[episode.reference]))
            assert torch.equal(plain.conditions(episode).states, plain.ready().states([text])[0])
            moved = replace(episode, history=other.history)
            assert not torch.equal(plain.conditions(moved).states, plain.conditions(episode).states)
            texts = [g._evidence.of(self.episodes).keys for g in (plain, counted)]
            assert texts[0] != texts[1]

    def test_its_settings_are_ragars(self):
        with pytest.raises(SettingError, match="keywords must be 1 or more, got 0"):
            self.make(keywords=0)


class TestStableDiffusion(GeneratorContract):
    name = "sd"
    settings: ClassVar = {"prompt": "a photo of {caption}"}

    @staticmethod
    def plain(family):
        """Without settings."""
        return resolve("sd", GENERATORS, "generator")(models=family, device="cpu")

    def test_its_words_are_the_prompt(self):
        episode = self.episodes[0]
        assert self.fitted().words(episode) == f"a photo of {self.catalog.captions[episode.reference]}"

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

    def test_several_threads_draw_what_one_draws(self, monkeypatch):
        """A small model on a CPU: every thread has a batch, and every bit of a picture stays."""
        from generators.sampler import Sampler

        drew, alone = [], Sampler._draw_batch

        def seen(sampler, requests):
            drew.append((threading.current_thread(), torch.get_num_threads(), sampler.pipeline.scheduler))
            return alone(sampler, requests)

        monkeypatch.setattr(Sampler, "_draw_batch", seen)
        before, generator = torch.get_num_threads(), self.fitted()
        episodes = self.episodes * (5 * generator.family.batch // len(self.episodes) + 1)
        try:
            pictures = []
            for threads in (1, 3):
                torch.set_num_threads(threads)
                pictures.append(generator.draw_each([(e, Rng(k)) for k, e in enumerate(episodes)]))
                assert torch.get_num_threads() == threads
        finally:
            torch.set_num_threads(before)
        assert all(map(torch.equal, *pictures))
        one, several = drew[: len(drew) // 2], drew[len(drew) // 2 :]
        assert {thread for thread, *_ in one} == {threading.main_thread()}
        assert {threads for _, threads, _ in several} == {1}
        assert 1 < len({scheduler for *_, scheduler in several}) <= 3
        assert threading.main_thread() not in {thread for thread, *_ in several}

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


class TestGLIDE(GeneratorContract):
    name = "glide"

    def test_it_reads_the_caption_and_nothing_of_the_person(self):
        captions, episode = self.catalog.captions.copy(), self.episodes[0]
        other = replace(episode, user=5, source_user="x", history=episode.history[:1])
        captions[episode.reference] = "something else"
        told_otherwise = self.make().fit(replace(self.catalog, captions=captions), (), rng=Rng(0))
        one, same = (self.fitted().generate([e], rng=Rng(0)).pixels for e in (episode, other))
        assert torch.equal(one, same)
        assert not torch.equal(one, told_otherwise.generate([episode], rng=Rng(0)).pixels)

    def test_its_control_is_the_small_picture_enlarged(self):
        """Drawn from the same noise, so that shrinking what is drawn gives about the same."""
        from torch.nn.functional import interpolate

        plain = self.make(upsampler="bilinear").fit(self.catalog, (), rng=Rng(0))
        (drawn,) = plain.generate(self.episodes[:1], rng=Rng(0)).pixels
        text = str(self.catalog.captions[self.episodes[0].reference])
        noise = Rng(0).for_("noise", self.episodes[0].id, 0)
        model = self.family.glide(device="cpu")
        small = model.small([text] * self.family.batch, [noise] * self.family.batch)[:1]
        small = (small / 2 + 0.5).mul(255).round() / 255
        wanted = interpolate(small, (32, 32), mode="bilinear", align_corners=False)[0]
        torch.testing.assert_close(drawn, wanted, atol=1e-6, rtol=0)
        assert not torch.equal(drawn, self.fitted().generate(self.episodes[:1], rng=Rng(0)).pixels[0])

    def test_a_wrong_upsampler_is_told(self):
        with pytest.raises(SettingError, match="must be one of learned, bilinear, got 'bicubic'"):
            self.make(upsampler="bicubic")


class TestTextualInversion(LearnedGeneratorContract):
    name = "textual_inversion"
    settings: ClassVar = {"steps": 4, "batch_size": 2, "vectors": 2, "weight_decay": 0.5}

    def test_the_word_plays_a_part(self):
        episode = self.episodes[0]
        generator = self.fitted()
        other = replace(episode, user=self.episodes[1].user)
        one, theirs = (generator.generate([e], rng=Rng(0)).pixels for e in (episode, other))
        assert not torch.equal(one, theirs)

    @pytest.mark.parametrize(("per", "words"), [("dataset", 1), ("cluster", 3), ("user", 12)])
    def test_there_is_a_word_for_all_for_each_cluster_or_for_each_user(self, per, words):
        generator = self.fitted(per=per, clusters=3)
        assert len(generator.weights()) == words
        assert all(x.shape == (2, 16) for x in generator.weights().values())

    def test_only_the_new_words_change(self, monkeypatch):
        """Weight decay included: after training every other row, and all else, has the bits it came with."""
        pipeline = trained_pipeline(monkeypatch, self.make(), self.catalog, self.shop.episodes)
        came_with = self.family.diffusion(device="cpu")
        table, before = (p.text_encoder.get_input_embeddings().weight for p in (pipeline, came_with))
        assert torch.equal(table, before)
        for name, x in came_with.unet.state_dict().items():
            assert torch.equal(pipeline.unet.state_dict()[name], x), name
        one, other = self.fitted(steps=1).weights(), self.fitted().weights()
        assert any(not torch.equal(one[word], other[word]) for word in one)

    def test_diffusers_reads_its_words_alike(self, tmp_path):
        generator = self.fitted()
        generator.save(tmp_path / "saved")
        pipeline = replace(self.family).diffusion(device="cpu")
        for user in (0, 3):
            file = f"user-{user}.safetensors"
            pipeline.load_textual_inversion(tmp_path / "saved" / "words", weight_name=file)
            theirs = pipeline.encode_prompt(f"a shirt <user-{user}>", "cpu", 1, False)[0]
            ours = generator._new.states(
                [f"a shirt {generator._new.word}"], generator._words[f"<user-{user}>"][None]
            )
            assert torch.equal(ours, theirs)

    def test_training_lowers_the_loss(self, monkeypatch):
        from generators.denoising import Denoising

        losses = recorded(monkeypatch, Denoising)
        alone = replace(self.episodes[0], history=self.episodes[0].history[:1])
        self.make(per="dataset", steps=30, lr=0.05, weight_decay=0.0).fit(self.catalog, [alone], rng=Rng(0))
        assert losses[-1] < losses[0]

    def test_a_user_without_a_word_is_told(self):
        stranger = replace(self.episodes[0], user=99)
        with pytest.raises(
            DataError, match=r"no word was learned for its user \(row 99\); 12 users have one"
        ):
            self.fitted().generate([stranger], rng=Rng(0))
        assert len(self.fitted(per="dataset").generate([stranger], rng=Rng(0)).pixels) == 1

    def test_words_of_another_width_are_told(self, tmp_path):
        from safetensors.torch import save_file

        generator = self.fitted()
        generator.save(tmp_path / "saved")
        save_file({"<user-0>": torch.zeros(2, 7)}, tmp_path / "saved" / "words" / "user-0.safetensors")
        with pytest.raises(DataError, match=r"word <user-0> must be \(2, 16\), got \(2, 7\)"):
            type(generator).load(tmp_path / "saved", self.catalog, models=self.family)

    def test_a_prompt_without_the_word_is_told(self):
        with pytest.raises(SettingError, match=r"must hold \{word\}"):
            self.make(prompt="{caption}")


class TestIPAdapter(LearnedGeneratorContract):
    name = "ip_adapter"
    settings: ClassVar = {"steps": 4, "batch_size": 2, "images": 3}

    def test_the_latest_pictures_of_the_history_play_a_part(self):
        generator, episode = self.fitted(), self.episodes[0]
        older = replace(episode, history=episode.history[-3:])
        others = replace(episode, history=self.episodes[1].history)
        one, same, other = (generator.generate([e], rng=Rng(0)).pixels for e in (episode, older, others))
        assert torch.equal(one, same)
        assert not torch.equal(one, other)

    def test_only_the_adapter_changes(self, monkeypatch):
        pipeline = trained_pipeline(monkeypatch, self.make(), self.catalog, self.shop.episodes)
        before = self.family.diffusion(device="cpu").unet.state_dict()
        after = pipeline.unet.state_dict()
        for name, x in before.items():
            assert torch.equal(after[name], x), name
        new = {name for name in after if name not in before}
        assert new == {name for name in after if "_ip." in name or name.startswith("encoder_hid_proj")}
        one, other = self.fitted(steps=1).weights(), self.fitted().weights()
        assert not any(torch.equal(one[name], other[name]) for name in one)

    def test_diffusers_reads_its_file(self, tmp_path):
        generator = self.fitted()
        generator.save(tmp_path / "saved")
        pipeline = replace(self.family).diffusion(device="cpu")
        pipeline.load_ip_adapter(
            str(tmp_path / "saved"), subfolder="", weight_name="model.safetensors", image_encoder_folder=None
        )
        theirs, ours = pipeline.unet.state_dict(), generator._sampler.pipeline.unet.state_dict()
        assert theirs.keys() == ours.keys()
        assert all(torch.equal(theirs[n], ours[n]) for n in ours)

    def test_training_lowers_the_loss(self, monkeypatch):
        from generators.denoising import Denoising

        losses = recorded(monkeypatch, Denoising)
        two = replace(self.episodes[0], history=self.episodes[0].history[:2])
        settings = {"images": 1, "batch_size": 8, "steps": 40, "lr": 0.02, "drop": 0.0}
        self.make(**settings).fit(self.catalog, [two], rng=Rng(0))
        assert sum(losses[-5:]) < sum(losses[:5])

    def test_a_published_adapter_is_taken_as_it_is(self, tmp_path):
        family = published_adapter(self.family, tmp_path, width=20)
        adapter_class = type(self.make())
        generator = adapter_class(models=family, device="cpu")
        assert not generator.learns
        generator.fit(self.catalog, (), rng=Rng(0))
        one, other = (replace(self.episodes[0], history=self.episodes[k].history) for k in (0, 1))
        pictures = generator.generate([replace(one, id="x")], rng=Rng(0)).pixels
        assert not torch.equal(pictures, generator.generate([replace(other, id="x")], rng=Rng(0)).pixels)
        generator.save(tmp_path / "saved")
        again = adapter_class.load(tmp_path / "saved", self.catalog, models=family, device="cpu")
        assert torch.equal(pictures, again.generate([replace(one, id="x")], rng=Rng(0)).pixels)

    def test_an_adapter_of_the_wrong_width_is_told(self, tmp_path):
        family = published_adapter(self.family, tmp_path, width=20, made_for=28)
        generator = type(self.make())(models=family, device="cpu").fit(self.catalog, (), rng=Rng(0))
        with pytest.raises(
            DataError, match=r"proj.weight must be \(64, 20\), got \(64, 28\).*another image enc"
        ):
            generator.generate(self.episodes[:1], rng=Rng(0))

    def test_a_history_without_pictures_is_told(self):
        present = np.ones(len(self.catalog), dtype=bool)
        present[list(self.episodes[0].history)] = False
        images = SimpleNamespace(
            present=present, read=self.catalog.images.read, fingerprint=self.catalog.images.fingerprint
        )
        generator = self.make().fit(replace(self.catalog, images=images), self.shop.episodes[1:], rng=Rng(0))
        with pytest.raises(DataError, match="a history with pictures is wanted, none of its"):
            generator.generate(self.episodes[:1], rng=Rng(0))


def as_real(catalog):
    """The same catalogue without the truth behind it."""
    from recsim_gen.core.types import Catalog

    return Catalog(catalog.item_ids, catalog.titles, catalog.captions, catalog.categories, catalog.images)


def recorded(monkeypatch, denoising_class):
    """Losses of a training whose noise is the same in every step."""
    losses = []
    undisturbed = denoising_class.loss

    def loss(self, rows, states, random, **conditions):
        found = undisturbed(self, rows, states, Rng(7).torch(), **conditions)
        losses.append(float(found.detach()))
        return found

    monkeypatch.setattr(denoising_class, "loss", loss)
    return losses


def trained_pipeline(monkeypatch, generator, catalog, episodes):
    """The pipeline that the generator was trained in, after that."""
    from generators.denoising import Denoising

    seen = []
    undisturbed = Denoising.loss

    def loss(self, *args, **kwargs):
        seen.append(self.sampler.pipeline)
        return undisturbed(self, *args, **kwargs)

    monkeypatch.setattr(Denoising, "loss", loss)
    generator.fit(catalog, episodes, rng=Rng(0))
    return seen[-1]


def published_adapter(family, folder, *, width, made_for=None):
    """The family with a folder like the published repository: an image encoder, a random adapter."""
    from safetensors.torch import save_file
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    from generators.adapter import untrained

    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPVisionConfig(**size, image_size=32, patch_size=8, projection_dim=width)
    torch.manual_seed(0)
    CLIPVisionModelWithProjection(config).save_pretrained(folder / "ip" / "models" / "image_encoder")
    weights = untrained(family.diffusion(device="cpu").unet, made_for or width, Rng(0))
    save_file(weights, folder / "ip" / "models" / "ip-adapter_sd15.safetensors")
    return family.with_models(ip_adapter=str(folder / "ip"))
