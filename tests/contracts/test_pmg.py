"""The generator contract for PMG, and what is its own: tastes in words, in vectors, and the choice."""

from dataclasses import replace
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch

from generators.candidates import FLOOR, fit_of
from generators.keywords import Keywords
from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.testing.generator_contract import LearnedGeneratorContract, tiny  # noqa: F401 - a fixture


class TestPMG(LearnedGeneratorContract):
    name = "pmg"
    settings: ClassVar = {"steps": 4, "batch_size": 2, "history": 3, "prefix": 2, "tokens": 3}

    def test_the_latest_of_the_history_play_a_part(self, monkeypatch):
        generator, episode = self.fitted(candidates=1), self.episodes[0]
        titles = self.catalog.titles.tolist()  # a random language model says the same of everything
        told = SimpleNamespace(
            ask_tastes=lambda histories: None,
            taste=lambda rows: [titles[row] for row in rows],
            taste_prompt=lambda rows: ", ".join(titles[row] for row in rows),
        )
        monkeypatch.setitem(generator.__dict__, "_keywords", told)
        older = replace(episode, history=episode.history[-3:])
        others = replace(episode, history=self.episodes[1].history)
        one, same, other = (generator.generate([e], rng=Rng(0)).pixels for e in (episode, older, others))
        assert torch.equal(one, same)
        assert not torch.equal(one, other)

    @pytest.mark.parametrize("side", ["words", "vectors"])
    def test_words_and_vectors_each_play_a_part(self, side, monkeypatch):
        generator = self.fitted(candidates=1)
        one = generator.generate(self.episodes[:1], rng=Rng(0)).pixels
        if side == "words":
            monkeypatch.setattr(generator._keywords, "taste", lambda rows: ["something", "else"])
        else:
            other = {name: x + 1 for name, x in generator.weights().items()}
            generator = self.make(candidates=1).fit(self.catalog, self.shop.episodes, rng=Rng(0))
            generator.restore(other)
        assert not torch.equal(one, generator.generate(self.episodes[:1], rng=Rng(0)).pixels)

    def test_without_preference_it_draws_for_everybody(self):
        """Weight 0: the pictures of two people with one reference are equal."""
        generator, episode = self.fitted(candidates=1, preference_weight=0.0), self.episodes[0]
        other = replace(episode, history=self.episodes[1].history)
        one, same = (generator.generate([e], rng=Rng(0)).pixels for e in (episode, other))
        assert torch.equal(one, same)

    def test_the_best_of_the_candidates_is_kept(self):
        """Drawn by hand, encoded by the family's encoder, and compared as the docstring says."""
        from PIL import Image

        one, generator, episode = self.fitted(candidates=1), self.fitted(candidates=4), self.episodes[2]
        noise = Rng(5).for_("noise", episode.id, 0)
        caption = str(self.catalog.captions[episode.reference])
        pictures = one.draw_each([(episode, stream) for stream in (noise, *map(noise.for_, (1, 2, 3)))])
        encoder = self.family.image_encoder(device="cpu")
        eight = [
            Image.fromarray((p.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)) for p in pictures
        ]
        x = np.stack([encoder.encode_images([p])[0] for p in eight])
        history = encoder.encode_images([self.catalog.images.read(row) for row in episode.history])
        target = self.family.text_encoder(device="cpu").encode_texts([caption])

        def cosines(a, b):
            a, b = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (a, b))
            return a @ b.T

        d_target = np.maximum(cosines(x, target)[:, 0], FLOOR)
        d_style = np.maximum(cosines(x, history).mean(1), FLOOR)
        best = int((d_target * d_style**2).argmax())
        assert torch.equal(generator.generate([episode], rng=Rng(5)).pixels[0], pictures[best])

    def test_training_lowers_the_loss(self, monkeypatch):
        from generators.denoising import Denoising

        losses, undisturbed = [], Denoising.loss

        def loss(self, rows, states, random, **conditions):
            found = undisturbed(self, rows, states, Rng(7).torch(), **conditions)
            losses.append(float(found.detach()))
            return found

        monkeypatch.setattr(Denoising, "loss", loss)
        two = replace(self.episodes[0], history=self.episodes[0].history[:2])
        settings = {"batch_size": 4, "steps": 25, "lr": 0.02, "preference_weight": 1.0}
        self.make(**settings).fit(self.catalog, [two], rng=Rng(0))
        assert sum(losses[-5:]) < sum(losses[:5])

    def test_no_item_is_told_by_itself(self):
        items = {0: [5, 3, 8, 1, 9], 7: [2, 4]}
        halves = self.make()._halves(items, Rng(3))
        assert len(halves) == 4
        assert sorted(row for targets, _ in halves for row in targets) == [1, 2, 3, 4, 5, 8, 9]
        for user, both in ((0, halves[:2]), (7, halves[2:])):
            for targets, told in both:
                assert targets
                assert told
                assert not {*targets} & {*told}
                assert told == [row for row in items[user] if row in told]  # oldest first

    def test_soft_tokens_do_not_depend_on_the_batch(self):
        soft = self.fitted()._soft
        prompts = ["a", "a somewhat longer prompt", "b"]
        with torch.no_grad():
            alone = torch.cat([soft([prompt]) for prompt in prompts])
            assert torch.allclose(soft(prompts), alone, atol=1e-5)
        assert soft(prompts).shape == (3, 3, 16)
        assert not torch.allclose(alone[0], alone[1], atol=1e-3)

    def test_the_gradient_reaches_all_that_is_learned_and_nothing_else(self):
        own = replace(self.family)
        soft = self.make()._untrained(own, SimpleNamespace(width=16, device="cpu"), Rng(0))
        soft(["a prompt"]).square().sum().backward()
        assert {name for name, x in soft.named_parameters() if x.grad is not None and x.grad.any()} == {
            "prefix",
            "tokens",
            "out.weight",
            "out.bias",
        }
        model, _ = own.language_model(device="cpu")
        assert all(x.grad is None for x in model.parameters())

    def test_a_preference_of_the_wrong_width_is_told(self, tmp_path):
        from safetensors.torch import load_file, save_file

        generator = self.fitted()
        generator.save(tmp_path / "saved")
        file = tmp_path / "saved" / "model.safetensors"
        save_file({**load_file(file), "tokens": torch.zeros(3, 7)}, file)
        with pytest.raises(
            DataError, match=r"tokens must be \(3, 16\), got \(3, 7\)\. Was it learned with another language"
        ):
            type(generator).load(tmp_path / "saved", self.catalog, models=self.family)

    def test_what_lacks_is_told(self):
        episode = self.episodes[0]
        present = np.ones(len(self.catalog), dtype=bool)
        present[list(episode.history)] = False
        images = SimpleNamespace(
            present=present, read=self.catalog.images.read, fingerprint=self.catalog.images.fingerprint
        )
        blind = self.make().fit(replace(self.catalog, images=images), self.shop.episodes[1:], rng=Rng(0))
        with pytest.raises(DataError, match=r"a history with pictures is wanted to choose by.*candidates: 1"):
            blind.generate([episode], rng=Rng(0))
        captions, titles = self.catalog.captions.copy(), self.catalog.titles.copy()
        captions[episode.history[-1]] = titles[episode.history[-1]] = ""
        told = replace(self.catalog, captions=captions, titles=titles)
        rest = [e for e in self.shop.episodes if episode.history[-1] not in e.history]
        silent = self.make().fit(told, rest, rng=Rng(0))
        with pytest.raises(DataError, match=r"has no caption and title.*recsim_gen\.caption"):
            silent.generate([episode], rng=Rng(0))

    def test_settings_out_of_range_are_told(self):
        with pytest.raises(SettingError, match="candidates must be 1 or more, got 0"):
            self.make(candidates=0)
        with pytest.raises(SettingError, match="preference_weight must be 0 or more"):
            self.make(preference_weight=-1.0)
        with pytest.raises(
            SettingError, match=r"setting 'target' of PMGConfig must be one of caption, picture"
        ):
            self.make(target="both")
        other = self.family.with_models(text_encoder=self.family.models.diffusion)
        generator = type(self.make())(models=other, device="cpu", **self.settings)
        with pytest.raises(SettingError, match="two models; set target: picture"):
            generator.fit(self.catalog, self.shop.episodes, rng=Rng(0)).generate(self.episodes, rng=Rng(0))

    def test_short_histories_and_pictures_as_targets_will_do(self):
        generator = self.fitted(target="picture")
        short = replace(self.episodes[0], history=self.episodes[0].history[:1])
        assert generator.generate([short], rng=Rng(0)).pixels.shape == (1, 3, 32, 32)


class TestKeywords:
    @pytest.fixture
    def world(self, tiny, monkeypatch, tmp_path):  # noqa: F811
        monkeypatch.setenv("RECSIM_CACHE", str(tmp_path))
        return tiny

    def told(self, monkeypatch, answer):
        asked = []

        def answers(model, tokenizer, prompts, **_):
            asked.append(list(prompts))
            return [answer(prompt) for prompt in prompts]

        monkeypatch.setattr("generators.keywords.answers", answers)
        return asked

    def test_each_item_is_asked_about_once(self, world, monkeypatch):
        shop, family = world
        asked = self.told(monkeypatch, lambda prompt: prompt.split("Title: ")[1].split("\n")[0] + ", neat")
        keywords = Keywords(family, "cpu", shop.catalog)
        found = keywords.of([3, 7, 3])
        assert found == [[shop.catalog.titles[row], "neat"] for row in (3, 7, 3)]
        keywords.of([4])
        assert Keywords(family, "cpu", shop.catalog).of([5]) == [[shop.catalog.titles[5], "neat"]]
        assert [len(prompts) for prompts in asked] == [80]

    def test_a_category_is_no_taste(self, world, monkeypatch):
        shop, family = world
        name = str(shop.catalog.categories[0])
        self.told(monkeypatch, lambda prompt: f"{name.upper()}, red, dots")
        assert Keywords(family, "cpu", shop.catalog).taste([1, 2]) == ["red", "dots"]

    def test_answers_that_cannot_be_read_are_replaced(self, world, monkeypatch):
        """By the first words of an item's title, else of its caption, else by its category; of a taste by the
        most frequent keywords, the latest first among equals.
        """
        shop, family = world
        titles = shop.catalog.titles
        self.told(monkeypatch, lambda prompt: "")
        keywords = Keywords(family, "cpu", shop.catalog)
        assert keywords.of([6]) == [[" ".join(titles[6].split()[:5])]]
        assert Keywords(family, "cpu", shop.catalog).of_all() == keywords.of(range(80))
        bare, captions = titles.copy(), shop.catalog.captions.copy()
        bare[5:7] = captions[6] = ""
        untitled = Keywords(family, "cpu", replace(shop.catalog, titles=bare, captions=captions))
        with pytest.raises(DataError, match="has no caption and title"):
            untitled.of([6])
        assert untitled.of_all()[5:7] == [
            [" ".join(captions[5].split()[:5])],
            [shop.catalog.categories[6]],
        ]
        self.told(monkeypatch, lambda prompt: "" if "They like" in prompt else "red, dots")
        rows = [8, 9]
        other = Keywords(family, "cpu", replace(shop.catalog, titles=titles[::-1]))
        assert other.taste(rows) == ["dots", "red"]

    def test_what_the_model_cannot_read_is_left_out_from_the_oldest_on(self, world, monkeypatch):
        shop, family = world
        self.told(monkeypatch, lambda prompt: f"word {len(prompt)}, {'x' * 30}")
        keywords = Keywords(family, "cpu", shop.catalog)
        rows = list(range(20))
        prompt = keywords.taste_prompt(rows)
        model, tokenizer = keywords.model
        assert len(tokenizer(prompt)["input_ids"]) <= model.config.max_position_embeddings - 64
        kept = prompt.count("\n- ")
        assert 1 <= kept < 20
        assert prompt == keywords.taste_prompt(rows[-kept:])


def test_the_fit_is_that_of_the_paper():
    pictures = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]])
    target, liked = np.array([5.0, 0.0]), np.array([[0.0, 1.0], [1.0, 1.0]])
    half = np.sqrt(0.5)
    d_target = np.array([1.0, FLOOR, half])
    d_style = np.array([half / 2, (1 + half) / 2, (half + 1) / 2])
    assert np.allclose(fit_of(pictures, target, liked), np.log(d_target) + 2 * np.log(d_style))
