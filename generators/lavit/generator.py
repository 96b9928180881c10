"""``lavit``: pictures as words of a language model, and the pictures of a history before the reference's.

LaVIT (Jin et al., ICLR 2024) reads a picture as a few discrete tokens, continues documents of words and
such tokens by a language model, and draws the tokens that it says by a diffusion model. RAGAR has it among
its baselines and does not say how it was prompted. Here it is asked as Pigeon (Xu et al., WWW 2025), which
is built on it, asks: pictures of the history, each between its two signs, then what the reference is
told to be; Pigeon's learned masks and its embedding of the reference's picture are its own and not
here, nor its instruction in words, which small language models do not know how to follow.

A family that names a ``lavit`` brings its weights, as published, and nothing is learned. Elsewhere
tokenizer, decoder and the family's language model are trained on histories, with vision and UNet frozen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generators.base import BaseGenerator, catalog_key, check_episodes
from generators.denoising import frozen_sampler, user_items, with_images
from generators.images import image_of
from generators.keywords import Keywords
from generators.lavit.config import LaVITConfig
from generators.lavit.language import Sampling, Vocabulary, draw_codes, extended
from generators.lavit.parts import Parts, PictureCodes
from generators.lavit.vision import family_vision, standardise
from generators.prompts import prompt_of
from generators.sampler import Conditions, Sampler
from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.store import fingerprint
from recsim_gen.models.prompts import keywords_line

if TYPE_CHECKING:
    import torch

    from recsim_gen.core.protocols import ExportedPart, Ranker, TrainingTracker
    from recsim_gen.core.types import Catalog, Episode
    from recsim_gen.models.family import ModelFamily


PATCHES_OF = 200  # pictures whose patches are what features are standardised by


class LaVIT(BaseGenerator):
    """Codes drawn behind the history's pictures and the reference's prompt, made a picture."""

    name = "lavit"
    config_class = LaVITConfig
    learns = True
    roles: tuple[str, ...] = ("diffusion", "image_encoder", "language_model")

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.learns = not self.family.models.lavit
        if not self.learns:
            self.roles = ("lavit",)
        self._parts: Parts | None = None

    def fit(
        self,
        catalog: Catalog,
        episodes: Sequence[Episode],
        *,
        ranker: Ranker | None = None,
        judge: Ranker | None = None,
        rng: Rng,
        work: Path | None = None,
        tracker: TrainingTracker | None = None,
    ) -> LaVIT:
        """Learn from histories, without their references; take the weights that are published."""
        from generators.lavit.training import learn

        if not self.learns:
            self._take(catalog)
            return self
        check_episodes(episodes, catalog)
        items = [*user_items(catalog, episodes, least=2).values()]
        family = self.family.to_learn()
        parts = self._untrained(family, frozen_sampler(family, self.device), rng)
        data = fingerprint(catalog_key(catalog), items, self.config, self._models())
        texts = self._texts(catalog, sorted({row for rows in items for row in rows}))
        some = rng.for_("patches").numpy().permutation([*texts])[:PATCHES_OF].tolist()
        standardise(parts.vision, [image_of(catalog, row) for row in some])
        learn(parts, catalog, items, texts, self.config, data=data, rng=rng, work=work, tracker=tracker)
        self._take(catalog)
        self.restore({name: x.detach().cpu().clone() for name, x in _learned(parts).items()})
        return self

    def _texts(self, catalog: Catalog, rows: Sequence[int]) -> dict[int, str]:
        """Of each row, what the decoder's states are held against."""
        if self.config.target_text == "caption":
            return {row: prompt_of(catalog, row, "{caption}") for row in rows}
        keywords = Keywords(self.family, self.device, catalog).of(rows)
        return {row: keywords_line(words) for row, words in zip(rows, keywords, strict=True)}

    def _take(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self.__dict__.pop("_codes", None)

    def _untrained(self, family: ModelFamily, sampler: Sampler, rng: Rng) -> Parts:
        """The family's models, with tokenizer, decoder and rows of the vocabulary as the stream has them."""
        import torch

        from generators.lavit.decoder import Decoder
        from generators.lavit.tokenizer import Sizes, Tokenizer
        from recsim_gen.core.training_loop import seeded

        config, vision = self.config, family_vision(family, self.device)
        width = vision.model.config.hidden_size
        sizes = Sizes(
            patches=vision.patches,
            width=width,
            heads=vision.model.config.num_attention_heads,
            inner=4 * width,
            blocks=config.blocks,
            codes=config.codes,
            code_width=config.code_width,
        )
        with seeded(rng.for_("start")):
            tokenizer, decoder = Tokenizer(sizes), Decoder(sizes, sampler.width)
        language, words = family.language_model(device=self.device, torch_dtype=torch.float32)
        vocabulary = Vocabulary(language.config.vocab_size, config.codes)
        language = extended(language, vocabulary, rng.for_("vocabulary"))
        if family.gradient_checkpointing:
            language.gradient_checkpointing_enable()
        device = sampler.device
        return Parts(vision, tokenizer.to(device), decoder.to(device), language, words, vocabulary, sampler)

    def words(self, episode: Episode) -> str:
        """The prompt; the history's pictures before it are not said in words."""
        return prompt_of(self.catalog, episode.reference, self.config.prompt)

    def draw_each(self, requests: Sequence[tuple[Episode, Rng]]) -> list[torch.Tensor]:
        """Codes one picture at a time, pictures in batches of one size."""
        sampler = self._ready().sampler
        pairs = [(self.conditions(episode, noise), noise) for episode, noise in requests]
        return sampler.draw_each(pairs, f"{self.name}: drawing")

    def conditions(self, episode: Episode, noise: Rng) -> Conditions:
        """What a picture is drawn from: the states of codes, drawn from ``noise``."""
        parts, config = self._ready(), self.config
        history = with_images(self.catalog, episode.history)[-config.images :] if config.images else []
        words = parts.text(self.words(episode))
        document = parts.vocabulary.document([self._codes.of(row) for row in history], words)
        how = Sampling(
            config.guidance,
            config.top_k,
            config.temperature,
            config.min_codes,
            min(config.max_codes, parts.vision.patches),
        )
        codes = draw_codes(parts.language, parts.vocabulary, document, how, noise.for_("codes").torch())
        return Conditions(parts.states(codes))

    def round_trip(self, rows: Sequence[int], rng: Rng) -> list[torch.Tensor]:
        """Pictures (3, H, W) of items' own tokens: what of a picture tokens and diffusion model keep."""
        parts = self._ready()
        pairs = [(Conditions(parts.states(self._codes.of(row))), rng.for_("noise", row)) for row in rows]
        return parts.sampler.draw_each(pairs, f"{self.name}: round trip")

    def _ready(self) -> Parts:
        if self._parts is None:
            if self.learns:
                raise SettingError(f"{self.name} is neither fitted nor loaded: call fit or load first")
            from generators.lavit.published import read_parts

            self._parts = self._guiding(read_parts(self.family, self.device))
        return self._parts

    def _guiding(self, parts: Parts) -> Parts:
        """With the diffusion model's guidance of the settings, if they have one."""
        parts.sampler.guidance = self.config.picture_guidance or parts.sampler.guidance
        return parts

    @cached_property
    def _codes(self) -> PictureCodes:
        parts = self._ready()
        return PictureCodes(self.catalog, parts.vision, parts.tokenizer)

    def weights(self) -> dict[str, torch.Tensor]:
        """Of ``tokenizer``, ``decoder`` and the whole ``language`` model; {} where these are published."""
        if self._parts is None or not self.learns:
            return {}
        return {name: x.detach().cpu() for name, x in _learned(self._parts).items()}

    def export(self, folder: Path, user_ids: Sequence[str]) -> Sequence[ExportedPart]:
        """The pipeline, the language model over words and codes, and the visual tokenizer and its decoder."""
        if not self.learns:
            return super().export(folder, user_ids)
        from recsim_gen.core.protocols import ExportedPart
        from recsim_gen.models.exporting import write_pipeline, write_tensors

        parts = self._ready()
        for saved in (parts.language, parts.words):
            saved.save_pretrained(folder / "language_model")
        load = (
            "from transformers import AutoModelForCausalLM\n\n"
            'language_model = AutoModelForCausalLM.from_pretrained("language_model")'
        )
        rest = {name: x for name, x in self.weights().items() if not name.startswith("language.")}
        what = (
            "picture to codes (`tokenizer`), codes to states of the diffusion model (`decoder`), and what "
            "features are standardised by (`vision`): `generators.lavit`"
        )
        return [
            write_pipeline(self.family, folder),
            ExportedPart(
                "language_model", f"a language model whose last {self.config.codes} rows are codes", load
            ),
            write_tensors(folder / "lavit.safetensors", rest, what),
        ]

    def restore(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Take what was learned. Raises DataError where names or shapes are others."""
        import torch

        family = self._own_family()
        parts = self._guiding(self._untrained(family, Sampler(family, self.device), Rng(0)))
        own = _learned(parts)
        got, expected = ({name: tuple(x.shape) for name, x in each.items()} for each in (weights, own))
        if got != expected:
            name = min(dict(expected.items() ^ got.items()))
            raise DataError(
                f"weights {name!r} must be {expected.get(name)}, got {got.get(name)}",
                remedy="Were they learned with other models or settings? Train again",
            )
        with torch.no_grad():
            for name, parameter in own.items():
                parameter.copy_(weights[name])
        parts.language.eval()
        self._parts = parts
        self.__dict__.pop("_codes", None)


def _learned(parts: Parts) -> dict[str, torch.Tensor]:
    """Parameters by name, each once, and what features are standardised by."""
    models = {"tokenizer": parts.tokenizer, "decoder": parts.decoder, "language": parts.language}
    learned = {f"{part}.{name}": x for part, m in models.items() for name, x in m.named_parameters()}
    assert parts.vision.mean is not None
    assert parts.vision.sd is not None
    return {**learned, "vision.mean": parts.vision.mean, "vision.sd": parts.vision.sd}
