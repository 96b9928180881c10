"""``pipeline:CLASS``: any diffusers pipeline that takes a prompt and optionally images.

Current models for drawing and editing (FLUX Kontext, OmniGen, Qwen-Image-Edit, GLM-Image…) are available as
such classes. The prompt describes the reference and possibly the taste of the history; images of either are
passed if the class takes images. Numbers and strings in its call are settings, by the class's own names.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

from generators.base import BaseGenerator
from generators.images import image_of
from generators.keywords import Keywords
from generators.prompts import check_template, prompt_of
from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.registry import did_you_mean
from recsim_gen.core.settings import Setting
from recsim_gen.models.prompts import keywords_line

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from recsim_gen.core.randomness import Rng
    from recsim_gen.core.types import Episode

SHOWN_AS = ("image", "input_images", "images")
"""Names of image arguments, in order of preference."""

OURS = ("prompt", "output_type", "return_dict", "num_images_per_prompt")
"""Arguments that are not settings: the generator sets them, or they make no sense here."""

TASTE = "taste"
"""Prompt field: the taste of the history, in keywords of the family's language model."""


@dataclass(frozen=True)
class PipelineConfig:
    """Settings; the arguments of the pipeline's call are additional ones."""

    pipeline: str = ""  # class in diffusers; pipeline:FluxKontextPipeline is equivalent
    weights: str = ""  # folder (./…, /…, ~…) or name on the hub; "": the family's pipeline
    prompt: str = "{caption}"  # template; fields {caption}, {title}, {category} and {taste} (of the history)
    pictures: Literal["none", "reference", "history", "both"] = "none"  # images to pass
    history: int = 3  # number of latest history images to pass
    told: int = 10  # number of latest history items that {taste} is based on
    call: Mapping[str, Any] = field(default_factory=dict)  # arguments of its call by name

    def __post_init__(self) -> None:
        check_template(self.prompt, TASTE)
        for name in ("history", "told"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name} must be 1 or more, got {getattr(self, name)}")

    @property
    def asks_for_taste(self) -> bool:
        """Whether the prompt contains the keywords of a taste."""
        return f"{{{TASTE}}}" in self.prompt


class Pipeline(BaseGenerator):
    """Draws with a diffusers pipeline, one image at a time, with all randomness from the image's stream.

    Raises SettingError if diffusers has no such class, if the class takes no prompt, or no images although
    some are to be passed, and for an argument that its call does not have.
    """

    name = "pipeline"
    config_class = PipelineConfig
    roles: tuple[str, ...] = ("pipeline",)

    def __init__(self, *, models: Any = "embedded", device: str | None = None, **settings: Any) -> None:
        own = {f.name for f in fields(PipelineConfig)}
        call = {**settings.get("call", {}), **{n: x for n, x in settings.items() if n not in own}}
        settings = {n: x for n, x in settings.items() if n in own}
        super().__init__(models=models, device=device, **{**settings, "call": call})
        if self.config.weights:
            self.family = self.family.with_models(pipeline=self.config.weights)
        _check(self.config)
        if self.config.asks_for_taste:
            self.roles = ("pipeline", "language_model")

    @classmethod
    def arguments(cls, pipeline: str) -> list[Setting]:
        """Return the numbers and strings that the call of a diffusers class takes, as settings."""
        taken = _parameters(pipeline_class(pipeline))
        typed = {name: (_simple(p.annotation), p.default) for name, p in taken.items() if name not in OURS}
        return [
            Setting(name, hint, default, f"argument of {pipeline}'s call")
            for name, (hint, default) in typed.items()
            if hint is not None
        ]

    def words(self, episode: Episode) -> str:
        """Return the prompt. Raises DataError for a reference without text."""
        if not self.config.asks_for_taste:
            return prompt_of(self.catalog, episode.reference, self.config.prompt)
        taste = keywords_line(self._keywords.taste(self._told(episode)))
        return prompt_of(self.catalog, episode.reference, self.config.prompt, taste=taste)

    def draw_each(self, requests: Sequence[tuple[Episode, Rng]]) -> list[torch.Tensor]:
        """Draw one at a time, after computing all tastes together."""
        if self.config.asks_for_taste:
            self._keywords.ask_tastes([self._told(episode) for episode, _ in requests])
        return super().draw_each(requests)

    def draw(self, episode: Episode, noise: Rng) -> torch.Tensor:
        """Draw one image. Raises DataError if an item lacks the text or image that is needed."""
        import torch

        from recsim_gen.core.training_loop import seeded

        arguments = {**self.config.call, "prompt": self.words(episode), "output_type": "pt"}
        if self.config.pictures != "none":
            arguments |= self._shown(episode)
        stream = noise.for_("pipeline")
        with (
            torch.no_grad(),
            seeded(stream.for_("global")),
        ):  # some pipelines also use torch's global generator
            pixels = self._loaded(generator=stream.torch(), **arguments).images[0]
        drawn: torch.Tensor = pixels.float().cpu().clamp(0, 1)
        return drawn

    def _shown(self, episode: Episode) -> dict[str, Any]:
        """Return the images to pass, by the name of the argument, in the form that the class requires."""
        rows: list[int] = []
        if self.config.pictures in ("history", "both"):
            rows += episode.history[-self.config.history :]
        if self.config.pictures in ("reference", "both"):
            rows.append(episode.reference)
        if not rows:
            raise DataError(f"episode {episode.id}: pictures of its history are wanted, it has no history")
        images: list[Image.Image] = [image_of(self.catalog, row) for row in rows]
        name = _shown_as(type(self._loaded))
        if name == "input_images":  # OmniGen: a list per prompt
            return {name: [images]}
        return {name: images[0] if len(images) == 1 else images}

    def _told(self, episode: Episode) -> Sequence[int]:
        return episode.history[-self.config.told :]

    @cached_property
    def _keywords(self) -> Keywords:
        return Keywords(self.family, self.device, self.catalog)

    @cached_property
    def _loaded(self) -> Any:
        return self.family.pipeline(pipeline_class(self.config.pipeline), device=self.device)


def pipeline_class(name: str) -> Any:
    """Return a diffusers pipeline class that takes a prompt. Raises SettingError for anything else."""
    import diffusers

    names = [n for n in dir(diffusers) if n.endswith("Pipeline")]
    if name not in names:
        raise SettingError(f"diffusers {diffusers.__version__} has no pipeline {name!r}.{_near(name, names)}")
    pipeline = getattr(diffusers, name)
    if "prompt" not in _parameters(pipeline):
        raise SettingError(f"{name} takes no prompt: a pipeline that draws from text is wanted")
    return pipeline


def _near(name: str, names: list[str]) -> str:
    """Return a suggestion, and a few of the hundreds of names."""
    return did_you_mean(name, names).split(" Known:", maxsplit=1)[0]


def _check(config: PipelineConfig) -> None:
    """Raise SettingError if no class is named, and for arguments that its call does not take."""
    if not config.pipeline:
        raise SettingError("a class of diffusers is wanted, got none. Write pipeline:CLASS")
    pipeline = pipeline_class(config.pipeline)
    known = [f.name for f in fields(config)]
    known += [setting.name for setting in Pipeline.arguments(config.pipeline)]
    for name in config.call:
        if name not in known:
            raise SettingError(f"unknown setting {name!r} of {config.pipeline}.{did_you_mean(name, known)}")
    if config.pictures != "none":
        _shown_as(pipeline)


def _shown_as(pipeline: Any) -> str:
    """Return the name of its image argument. Raises SettingError if it has none."""
    taken = _parameters(pipeline)
    for name in SHOWN_AS:
        if name in taken:
            return name
    raise SettingError(f"{pipeline.__name__} looks at no pictures: leave `pictures` at none")


def _parameters(pipeline: Any) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(pipeline.__call__).parameters


def _simple(annotation: Any) -> Any:
    """Return the type of a number or a string, also of an optional one; None for anything else."""
    parts = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    return next((kind for kind in (bool, int, float, str) if kind in parts), None)
