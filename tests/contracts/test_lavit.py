"""The generator contract for LaVIT, and what is its own: documents, codes, and what is learned."""

from dataclasses import replace
from typing import ClassVar

import pytest
import tiny_lavit
import torch

from recsim_gen.core.errors import DataError, MissingDependency, SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.models.family import ModelFamily, Models
from recsim_gen.testing.generator_contract import LearnedGeneratorContract, tiny  # noqa: F401 - a fixture


class TestLaVIT(LearnedGeneratorContract):
    name = "lavit"
    settings: ClassVar = {
        **{"steps": 4, "language_steps": 2, "batch_size": 2, "language_batch_size": 4, "images": 2},
        **{"codes": 12, "code_width": 4, "min_codes": 2, "language_lr": 0.1},
    }

    def test_the_latest_pictures_of_the_history_play_a_part(self):
        generator, episode = self.fitted(), self.episodes[0]
        older = replace(episode, history=episode.history[-2:])
        others = replace(episode, history=self.episodes[1].history)
        one, same, other = (generator.generate([e], n=4, rng=Rng(0)).pixels for e in (episode, older, others))
        assert torch.equal(one, same)
        assert not torch.equal(one, other)

    def test_the_pictures_of_a_document_stand_between_their_signs(self, monkeypatch):
        """Two pictures of the history, the words of the caption, and the sign that the picture begins."""
        seen = []

        def spy(model, vocabulary, document, how, noise):
            seen.append((vocabulary, document))
            return [0, 1]

        monkeypatch.setattr("generators.lavit.generator.draw_codes", spy)
        generator, episode = self.fitted(), self.episodes[0]
        generator.generate([episode], rng=Rng(0))
        ((vocabulary, document),) = seen
        words = self.family.language_model(device="cpu")[1]
        caption = words(self.catalog.captions[episode.reference], add_special_tokens=False)["input_ids"]
        begin, end = len(words), len(words) + 1
        assert len(vocabulary) == len(words) + 2 + 12
        assert document[-len(caption) - 1 :] == [*caption, begin]
        pictures = document[: -len(caption) - 1]
        assert [pictures.count(begin), pictures.count(end)] == [2, 2]
        assert pictures[0] == begin
        assert pictures[-1] == end
        codes = [token for token in pictures if token not in (begin, end)]
        assert codes
        assert min(codes) > end

    def test_a_history_without_pictures_leaves_the_reference(self):
        """The document is the caption alone, as LaVIT draws from texts."""
        generator = self.fitted(images=0)
        one, other = (replace(self.episodes[0], history=self.episodes[k].history) for k in (0, 1))
        pictures = [generator.generate([e], rng=Rng(0)).pixels for e in (one, other)]
        assert torch.equal(*pictures)

    def test_a_round_trip_gives_pictures_of_the_items(self):
        rows = [episode.reference for episode in self.episodes]
        generator = self.fitted()
        together = generator.round_trip(rows, Rng(0))
        alone = generator.round_trip(rows[2:3], Rng(0))
        assert [tuple(x.shape) for x in together] == [(3, 32, 32)] * 4
        assert torch.equal(alone[0], together[2])
        assert not torch.equal(together[0], together[1])

    def test_all_but_vision_and_diffusion_model_is_learned(self):
        one, other = self.fitted().weights(), self.fitted(steps=8, language_steps=4).weights()
        assert {name.split(".")[0] for name in one} == {"tokenizer", "decoder", "language", "vision"}
        assert {name for name in one if torch.equal(one[name], other[name])} == {"vision.mean", "vision.sd"}

    def test_patches_are_standardised_as_those_of_the_histories(self):
        """So few pictures are all looked at: their patches have mean 0 and deviation 1."""
        generator = self.fitted()
        rows = sorted({row for episode in self.shop.episodes for row in episode.history})
        read = generator._ready().vision.features
        patches = torch.cat([read([self.catalog.images.read(row)])[0] for row in rows])
        assert patches.mean(0).abs().max() < 1e-3
        assert (patches.std(0) - 1).abs().max() < 1e-3

    def test_settings_out_of_range_are_told(self):
        for settings, problem in (
            ({"min_codes": 0}, "min_codes must be 1 or more, got 0"),
            ({"min_codes": 9, "max_codes": 3}, r"max_codes must be 9 \(min_codes\) or more, got 3"),
            ({"keep": 1.0}, r"keep must be in \[0, 1\), got 1.0"),
            ({"temperature": 0.0}, "temperature must be above 0, got 0.0"),
            ({"prompt": "{colour}"}, "unknown field 'colour'"),
        ):
            with pytest.raises(SettingError, match=problem):
                self.make(**settings)

    def test_weights_of_other_sizes_are_told(self, tmp_path):
        self.fitted().save(tmp_path / "saved")
        config = tmp_path / "saved" / "config.json"
        config.write_text(config.read_text().replace('"codes": 12', '"codes": 13'))
        with pytest.raises(DataError, match=r"weights .* must be \(.*Train again"):
            type(self.fitted()).load(tmp_path / "saved", self.catalog, models=self.family)

    def test_published_weights_are_taken_as_they_are(self, tmp_path):
        """No training, no family's models beside; another history gives another picture."""
        files = str(tiny_lavit.save(tmp_path / "files"))
        family = ModelFamily("paper", Models(lavit=files), steps=2, image_size=32, batch=2)
        lavit_class = type(self.make())
        generator = lavit_class(models=family, device="cpu", min_codes=2)
        assert not generator.learns
        assert generator.config.guidance == 4
        generator.fit(self.catalog, (), rng=Rng(0))
        pictures = generator.generate(self.episodes[:2], rng=Rng(0)).pixels
        assert pictures.shape == (2, 3, 32, 32)
        assert not torch.equal(*pictures)
        generator.save(tmp_path / "saved")
        again = lavit_class.load(tmp_path / "saved", self.catalog, models=family, device="cpu")
        assert torch.equal(pictures, again.generate(self.episodes[:2], rng=Rng(0)).pixels)

    def test_published_weights_that_are_not_there_are_told_in_one_line(self, tmp_path):
        family = ModelFamily(
            "paper", Models(lavit=str(tmp_path)), licences={str(tmp_path): "LaVIT Community License"}
        )
        generator = type(self.make())(models=family, device="cpu").fit(self.catalog, (), rng=Rng(0))
        with pytest.raises(MissingDependency) as told:
            generator.generate(self.episodes[:1], rng=Rng(0))
        said = str(told.value)
        assert "\n" not in said
        for part in ("eva_vitg_psz14.bin", "LaVIT Community License", "Put its files there", str(tmp_path)):
            assert part in said
