"""``pmg``: conditions the diffusion model on a person's taste in words and vectors (Shen et al., WWW 2024).

The family's language model gives keywords of the items of a history, then of the taste behind them: the
preference in words. Soft tokens of the language model are the preference in vectors; they are learned by
denoising items of a history given the others, with all models frozen. Both are added to the reference's
prompt, each part with a weight; of several candidates the one that best fits both the reference and the
history is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from generators.base import SamplingGenerator, catalog_key, check_episodes
from generators.candidates import Choice
from generators.denoising import Denoising, draw_rows, frozen_sampler, train, user_items
from generators.keywords import Keywords
from generators.prompts import check_template, prompt_of
from generators.sampler import Conditions, Sampler
from recsim_gen.core.errors import SettingError
from recsim_gen.core.store import fingerprint
from recsim_gen.models.prompts import keywords_line

if TYPE_CHECKING:
    import torch

    from generators.soft_preference import SoftPreference
    from recsim_gen.core.protocols import ExportedPart, Ranker, TrainingTracker
    from recsim_gen.core.randomness import Rng
    from recsim_gen.core.types import Catalog, Episode
    from recsim_gen.models.family import ModelFamily


@dataclass(frozen=True)
class PMGConfig:
    """Settings."""

    history: int = 10  # number of latest items that the taste is based on
    prefix: int = 4  # learned positions before the prompt of the language model; "4 + 4" in the release
    tokens: int = 4  # soft tokens after the prompt
    target_weight: float = 1.0  # w_t, weight of the states of the reference's prompt
    preference_weight: float = 0.5  # w_p, weight of the keywords' states and soft tokens
    candidates: int = 2  # number of images of which the best is kept; 1: no selection
    target: Literal["caption", "picture"] = "caption"  # part of the reference to compare candidates with
    prompt: str = "{caption}"  # template; fields {caption}, {title} and {category} of the reference
    train_prompt: str = "{category}"  # without colours, which the preference must provide
    steps: int = 400  # training steps
    batch_size: int = 16  # images per batch
    accumulate: int = 1  # batches per step, shared by processes
    lr: float = 1e-3  # peak learning rate of AdamW, after the warm-up
    weight_decay: float = 0.01  # of AdamW

    def __post_init__(self) -> None:
        for name in ("history", "prefix", "tokens", "candidates", "steps", "batch_size", "accumulate"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name} must be 1 or more, got {getattr(self, name)}")
        for name in ("target_weight", "preference_weight"):
            if getattr(self, name) < 0:
                raise SettingError(f"{name} must be 0 or more, got {getattr(self, name)}")
        for template in (self.prompt, self.train_prompt):
            check_template(template)


class PMG(SamplingGenerator):
    """Conditions on the reference's prompt, and on keywords and soft tokens of the history's taste."""

    name = "pmg"
    config_class = PMGConfig
    learns = True
    roles: tuple[str, ...] = ("diffusion", "language_model")

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        if self.config.candidates > 1:
            self.roles = ("diffusion", "language_model", "image_encoder")
        self._weights: dict[str, torch.Tensor] = {}
        self._soft: SoftPreference | None = None

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
    ) -> PMG:
        """Learn the soft preference from histories, without their references.

        The items of a user are split into two random halves: each item is denoised given the taste of the
        other half, so that no item contributes to its own condition.
        """
        check_episodes(episodes, catalog)
        self._open(catalog)
        halves = self._halves(user_items(catalog, episodes, least=2), rng)
        family = self.family.to_learn()
        keywords = Keywords(family, self.device, catalog)
        sampler = frozen_sampler(family, self.device)
        tastes = [keywords_line(words) for words in keywords.tastes([half for _, half in halves])]
        prompts = [keywords.taste_prompt(half) for _, half in halves]
        pairs = [(target, k) for k, (targets, _) in enumerate(halves) for target in targets]
        soft = self._untrained(family, sampler, rng)
        data = fingerprint(catalog_key(catalog), pairs, tastes, prompts, self.config, self._models())
        self._learn(Denoising(sampler, catalog), soft, pairs, tastes, prompts, data, rng, work, tracker)
        self.restore(soft.learned())
        return self

    def _halves(self, items: Mapping[int, Sequence[int]], rng: Rng) -> list[tuple[list[int], list[int]]]:
        """Return (items to draw, the latest of the other half) for every user, in both directions."""
        halves = []
        for user, rows in items.items():
            mixed = rng.for_("halves", user).numpy().permutation(len(rows))
            first = {rows[k] for k in mixed[: len(rows) // 2].tolist()}
            one, other = [r for r in rows if r in first], [r for r in rows if r not in first]
            halves += [(one, other[-self.config.history :]), (other, one[-self.config.history :])]
        return halves

    def _learn(
        self,
        denoising: Denoising,
        soft: SoftPreference,
        pairs: Sequence[tuple[int, int]],
        tastes: Sequence[str],
        prompts: Sequence[str],
        data: str,
        rng: Rng,
        work: Path | None,
        tracker: TrainingTracker | None,
    ) -> None:
        from recsim_gen.core.training_loop import Schedule

        config, sampler = self.config, denoising.sampler

        def loss(step: Rng) -> dict[str, torch.Tensor]:
            drawn = [pairs[k] for k in draw_rows(len(pairs), config.batch_size, step.numpy())]
            rows = [row for row, _ in drawn]
            texts = [prompt_of(denoising.catalog, row, config.train_prompt) for row in rows]
            liked, soft_tokens = [tastes[k] for _, k in drawn], soft([prompts[k] for _, k in drawn])
            states = self._states(sampler, texts, liked, soft_tokens)
            return {"loss": denoising.loss(rows, states, step.torch())}

        schedule = Schedule(
            config.steps,
            config.lr,
            warmup=min(20, config.steps // 10),
            weight_decay=config.weight_decay,
            accumulate=config.accumulate,
        )
        train(self.name, soft, loss, schedule, data=data, rng=rng, work=work, tracker=tracker)

    def _states(
        self, sampler: Sampler, texts: Sequence[str], tastes: Sequence[str], soft: torch.Tensor
    ) -> torch.Tensor:
        """Return (B, 2T + S, d): w_t · the prompt's states, w_p · the keywords', w_p · soft tokens."""
        import torch

        target, words = sampler.states(texts), sampler.states(tastes)
        liked = torch.cat([words, soft.to(words)], dim=1)
        return torch.cat([self.config.target_weight * target, self.config.preference_weight * liked], dim=1)

    def conditions(self, episode: Episode) -> Conditions:
        """Return the reference's prompt and the taste of the history.

        Raises DataError for items without text.
        """
        import torch

        sampler, rows = self.ready(), episode.history[-self.config.history :]
        assert self._soft is not None
        text = prompt_of(self.catalog, episode.reference, self.config.prompt)
        taste = keywords_line(self._keywords.taste(rows))
        with torch.no_grad():
            soft = self._soft([self._keywords.taste_prompt(rows)])
            return Conditions(self._states(sampler, [text], [taste], soft)[0], text=f"{text}; {taste}")

    def ready(self) -> Sampler:
        """Return the family's sampler."""
        if self._soft is None:
            raise SettingError(f"{self.name} is neither fitted nor loaded: call fit or load first")
        return self._sampler

    def draw_each(self, requests: Sequence[tuple[Episode, Rng]]) -> list[torch.Tensor]:
        """Return the best candidate of each: the first from the noise itself, the others from sub-streams.

        Raises DataError if images needed for the selection are missing.
        """
        n = self.config.candidates
        self._keywords.ask_tastes([e.history[-self.config.history :] for e, _ in requests])
        chances = [(e, s) for e, noise in requests for s in (noise, *(noise.for_(k) for k in range(1, n)))]
        drawn = super().draw_each(chances)
        if n == 1:
            return drawn
        groups = [drawn[k : k + n] for k in range(0, len(drawn), n)]
        return [g[self._choice.best(g, e)] for g, (e, _) in zip(groups, requests, strict=True)]

    def weights(self) -> dict[str, torch.Tensor]:
        """Return the weights of the soft preference; see `SoftPreference.learned`."""
        return dict(self._weights)

    def restore(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Load a soft preference. Raises DataError if it does not fit the models."""
        from recsim_gen.core.randomness import Rng

        soft = self._untrained(self.family, self._sampler, Rng(0))
        soft.take(weights)
        self._soft, self._weights = soft.eval(), dict(weights)

    def export(self, folder: Path, user_ids: Sequence[str]) -> Sequence[ExportedPart]:
        """Write the pipeline, and the soft preference, which needs the code of `SoftPreference`."""
        from recsim_gen.models.exporting import write_pipeline, write_tensors

        what = (
            "what stands before (`prefix`: layers, key and value, heads, positions, width) and behind "
            "(`tokens`) the prompt of the language model, and the map `out` to the text encoder's width: "
            "`generators.soft_preference.SoftPreference`"
        )
        file = folder / "soft_preference.safetensors"
        return [write_pipeline(self.family, folder), write_tensors(file, self._weights, what)]

    def _untrained(self, family: ModelFamily, sampler: Sampler, rng: Rng) -> SoftPreference:
        from generators.soft_preference import SoftPreference

        model, tokenizer = family.language_model(device=self.device)
        if family is not self.family:  # a copy for training, with frozen parameters
            model.requires_grad_(False)
        config = self.config
        size = {"prefix": config.prefix, "tokens": config.tokens, "width": sampler.width}
        return SoftPreference(model, tokenizer, **size, rng=rng.for_("start")).to(sampler.device)

    def _open(self, catalog: Catalog) -> None:
        """Set the catalogue, and drop everything computed for another."""
        self._catalog = catalog
        for made in ("_keywords", "_choice"):
            self.__dict__.pop(made, None)

    @cached_property
    def _sampler(self) -> Sampler:
        return Sampler(self.family, self.device)

    @cached_property
    def _keywords(self) -> Keywords:
        return Keywords(self.family, self.device, self.catalog)

    @cached_property
    def _choice(self) -> Choice:
        template = self.config.prompt if self.config.target == "caption" else None
        return Choice(self.family, self.device, self.catalog, template=template)
