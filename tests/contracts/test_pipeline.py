"""The generator contract, for pipelines of diffusers by their class."""

from dataclasses import replace
from types import SimpleNamespace
from typing import ClassVar

import pytest
import tiny_pipelines
import torch

from recsim_gen.core.errors import DataError, MissingDependency, SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.specs import GeneratorSpec
from recsim_gen.experiments.methods import check_settings, read_methods
from recsim_gen.models.family import open_family
from recsim_gen.testing.generator_contract import GeneratorContract, tiny  # noqa: F401 - a fixture


class PipelineContract(GeneratorContract):
    """Subclass, and say which ``settings`` make the class draw 32 pixels in two steps."""

    name = "pipeline"

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _saved(cls, tmp_path_factory):
        save = getattr(tiny_pipelines, f"save_{cls.saved}")
        cls.settings = {**cls.settings, "weights": str(save(tmp_path_factory.mktemp(cls.saved)))}

    def test_it_looks_at_the_pictures_that_it_is_shown(self, monkeypatch):
        """The same words beside another picture draw another picture."""
        generator, (episode, other) = self.fitted(), self.episodes[:2]
        one = generator.generate([episode], rng=Rng(0)).pixels
        instead = self.catalog.images.read(other.reference)
        monkeypatch.setattr("generators.pipeline.image_of", lambda catalog, row: instead)
        assert not torch.equal(one, generator.generate([episode], rng=Rng(0)).pixels)

    def test_an_item_without_picture_is_told(self):
        bare = self.make().fit(replace(self.catalog, images=None), (), rng=Rng(0))
        with pytest.raises(DataError, match="has no picture"):
            bare.generate(self.episodes[:1], rng=Rng(0))

    def test_arguments_of_its_call_are_settings(self):
        longer = self.make(num_inference_steps=4).fit(self.catalog, (), rng=Rng(0))
        assert longer.config.call["num_inference_steps"] == 4
        one, two = (g.generate(self.episodes[:1], rng=Rng(0)).pixels for g in (self.fitted(), longer))
        assert not torch.equal(one, two)
        with pytest.raises(SettingError, match=r"unknown setting 'num_steps'.*'num_inference_steps'"):
            self.make(num_steps=4)


class TestImageToImage(PipelineContract):
    saved = "image_to_image"
    settings: ClassVar = {
        "pipeline": "StableDiffusionImg2ImgPipeline",
        "pictures": "reference",
        "num_inference_steps": 2,
        "strength": 1.0,
    }


class TestPersonalPrompt(PipelineContract):
    """The prompt tells of the taste, the picture is a blurred memory of the reference."""

    saved = "image_to_image"
    settings: ClassVar = {
        "pipeline": "StableDiffusionImg2ImgPipeline",
        "prompt": "{category}, {taste}",
        "pictures": "reference",
        "num_inference_steps": 2,
    }

    def test_another_history_is_another_prompt(self, monkeypatch):
        titles = self.catalog.titles.tolist()  # a random language model says the same of everything
        told = SimpleNamespace(
            ask_tastes=lambda histories: None, taste=lambda rows: [titles[row] for row in rows]
        )
        generator, episode = self.fitted(told=2), self.episodes[0]
        monkeypatch.setitem(generator.__dict__, "_keywords", told)
        words = generator.words(episode)
        assert words.startswith(str(self.catalog.categories[episode.reference]))
        assert all(titles[row] in words for row in episode.history[-2:])
        assert generator.words(replace(episode, history=episode.history[-2:])) == words
        assert generator.words(replace(episode, history=self.episodes[1].history)) != words


class TestInstructPix2Pix(PipelineContract):
    saved = "instruct_pix2pix"
    settings: ClassVar = {
        "pipeline": "StableDiffusionInstructPix2PixPipeline",
        "pictures": "reference",
        "num_inference_steps": 2,
    }


class TestFluxKontext(PipelineContract):
    saved = "flux_kontext"
    settings: ClassVar = {
        "pipeline": "FluxKontextPipeline",
        "pictures": "reference",
        "num_inference_steps": 2,
        "height": 32,
        "width": 32,
        "max_area": 1024,
        "max_sequence_length": 16,
        "_auto_resize": False,
    }


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("pipeline", r"a class of diffusers is wanted.*pipeline:CLASS"),
        ("pipeline:FluxKontextPipelin", r"has no pipeline 'FluxKontextPipelin'\. Did you mean 'FluxKontext"),
        ("pipeline:DDPMPipeline", "takes no prompt"),
        ("pipeline:FluxPipeline:weights=./x,pictures=history", "looks at no pictures"),
        ("pipeline:FluxPipeline:weights=./x,steps=3", r"unknown setting 'steps'"),
        ("pipeline:FluxPipeline:weights=./x,height=tall", "must be a whole number"),
    ],
)
def test_what_cannot_be_is_told_before_any_work(word, message):
    with pytest.raises(SettingError, match=message):
        check_settings(read_methods([word]), open_family())


def test_missing_weights_are_told_in_one_line(tmp_path):
    message = r"pipeline .*nowhere.*is missing\. Put its files there"
    with pytest.raises(MissingDependency, match=message) as told:
        check_settings(read_methods([f"pipeline:FluxPipeline:weights={tmp_path}/nowhere"]), open_family())
    assert "\n" not in str(told.value)


def test_a_class_is_named_behind_a_colon():
    spec = GeneratorSpec("pipeline:FluxKontextPipeline", {"weights": "./x"})
    assert spec == GeneratorSpec("pipeline", {"pipeline": "FluxKontextPipeline", "weights": "./x"})
    (method,) = read_methods(["kontext=pipeline:FluxKontextPipeline:weights=./x,guidance_scale=5"])
    assert method.label == "kontext"
    assert method.spec.settings["guidance_scale"] == 5
    assert {"guidance_scale", "height", "true_cfg_scale"} < {s.name for s in spec.known()}
    assert not {"prompt_embeds", "callback_on_step_end", "output_type"} & {s.name for s in spec.known()}
