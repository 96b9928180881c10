"""``lavit``: images as tokens of a language model, with the history's images before the reference's.

LaVIT (Jin et al., ICLR 2024) reads an image as a few discrete tokens, continues documents of words and such
tokens with a language model, and draws the generated tokens with a diffusion model. RAGAR lists it as a
baseline without saying how it was prompted. Here the prompt is that of Pigeon (Xu et al., WWW 2025), which is
based on LaVIT: images of the history, each between its two special tokens, then the text of the reference.
Pigeon's learned masks, its embedding of the reference's image, and its textual instruction, which small
language models cannot follow, are not used.

A family that names a ``lavit`` brings its published weights, and nothing is trained. Otherwise tokenizer,
decoder and the family's language model are trained on histories, with frozen image encoder and UNet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generators.base import BaseGenerator, catalog_key, check_episodes
from generators.denoising import user_items, with_images
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


PATCHES_OF = 200  # images whose patches define the standardisation of features


class LaVIT(BaseGenerator):
    """Samples codes after the history's images and the reference's prompt, and draws them."""

    name = "lavit"
    config_class = LaVITConfig
    learns = True
    training_version = 2
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
        """Train on histories, without their references, or use the published weights."""
        from generators.lavit.training import learn

        if not self.learns:
            self._take(catalog)
            return self
        check_episodes(episodes, catalog)
        items = [*user_items(catalog, episodes, least=2).values()]
        family = self.family.to_learn()
        parts = self._untrained(family, Sampler(family, self.device), rng)
        data = fingerprint(catalog_key(catalog), items, self.config, self._models())
        texts = self._texts(catalog, sorted({row for rows in items for row in rows}))
        some = rng.for_("patches").numpy().permutation([*texts])[:PATCHES_OF].tolist()
        standardise(parts.vision, [image_of(catalog, row) for row in some])
        learn(parts, catalog, items, texts, self.config, data=data, rng=rng, work=work, tracker=tracker)
        self._take(catalog)
        self.restore({name: x.detach().cpu().clone() for name, x in _learned(parts).items()})
        return self

    def _texts(self, catalog: Catalog, rows: Sequence[int]) -> dict[int, str]:
        """Return the target text of the decoder's states for each row."""
        if self.config.target_text == "caption":
            return {row: prompt_of(catalog, row, "{caption}") for row in rows}
        keywords = Keywords(self.family, self.device, catalog).of(rows)
        return {row: keywords_line(words) for row, words in zip(rows, keywords, strict=True)}

    def _take(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self.__dict__.pop("_codes", None)

    def _untrained(self, family: ModelFamily, sampler: Sampler, rng: Rng) -> Parts:
        """Return the family's models, with new tokenizer, decoder and vocabulary rows."""
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
        """Return the prompt, without the history's images."""
        return prompt_of(self.catalog, episode.reference, self.config.prompt)

    def draw_each(self, requests: Sequence[tuple[Episode, Rng]]) -> list[torch.Tensor]:
        """Sample codes one image at a time, and draw images in batches of constant size."""
        sampler = self._ready().sampler
        pairs = [(self.conditions(episode, noise), noise) for episode, noise in requests]
        return sampler.draw_each(pairs, f"{self.name}: drawing")

    def conditions(self, episode: Episode, noise: Rng) -> Conditions:
        """Return the states of codes sampled with ``noise``."""
        parts, config = self._ready(), self.config
        history = with_images(self.catalog, episode.history)[-config.images :] if config.images else []
        words = parts.text(self.words(episode))
        document = parts.vocabulary.document([self._codes.of(row) for row in history], words)
        sampling = Sampling(
            config.guidance,
            config.top_k,
            config.temperature,
            config.min_codes,
            min(config.max_codes, parts.vision.patches),
        )
        codes = draw_codes(parts.language, parts.vocabulary, document, sampling, noise.for_("codes").torch())
        return Conditions(parts.states(codes))

    def round_trip(self, rows: Sequence[int], rng: Rng) -> list[torch.Tensor]:
        """Return images (3, H, W) reconstructed from items' own tokens, to evaluate the tokens."""
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
        """Return the parts with the guidance of the diffusion model from the settings, if given."""
        parts.sampler.guidance = self.config.picture_guidance or parts.sampler.guidance
        return parts

    @cached_property
    def _codes(self) -> PictureCodes:
        parts = self._ready()
        return PictureCodes(self.catalog, parts.vision, parts.tokenizer)

    def weights(self) -> dict[str, torch.Tensor]:
        """Return the weights of ``tokenizer``, ``decoder`` and ``language`` model.

        {} if these are published.
        """
        if self._parts is None or not self.learns:
            return {}
        return {name: x.detach().cpu() for name, x in _learned(self._parts).items()}

    def export(self, folder: Path, user_ids: Sequence[str]) -> Sequence[ExportedPart]:
        """Write the pipeline, the language model over words and codes, and the tokenizer and decoder."""
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
        """Load what was learned. Raises DataError for other names or shapes."""
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
    """Return all parameters by name, without repetitions, and the standardisation of features."""
    models = {"tokenizer": parts.tokenizer, "decoder": parts.decoder, "language": parts.language}
    learned = {f"{part}.{name}": x for part, m in models.items() for name, x in m.named_parameters()}
    assert parts.vision.mean is not None
    assert parts.vision.sd is not None
    return {**learned, "vision.mean": parts.vision.mean, "vision.sd": parts.vision.sd}
