"""``textual_inversion``: a new word that represents a person's taste (Gal et al. 2023), personalised.

A word consists of a few vectors in the text encoder's embedding table, learned from the images of a history
with frozen UNet and text encoder. The published benchmark of this field trains one word for a whole data set;
that is ``per: dataset``.

The table itself is not modified: new words are looked up in separate tensors, so neither an optimiser nor
weight decay can change the others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from generators.base import SamplingGenerator, catalog_key, check_episodes
from generators.denoising import Denoising, draw_rows, frozen_sampler, train, user_items
from generators.image_prompts import ImageVectors, family_encoder
from generators.new_words import NewWords, read_words, write_words
from generators.prompts import check_template, prompt_of
from generators.sampler import Conditions, Sampler
from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.registry import did_you_mean
from recsim_gen.core.store import fingerprint, write_json

if TYPE_CHECKING:
    import torch

    from recsim_gen.core.protocols import ExportedPart, Ranker, TrainingTracker
    from recsim_gen.core.randomness import Rng
    from recsim_gen.core.types import Catalog, Episode

MEMBERS, WORDS = "members.json", "words"


@dataclass(frozen=True)
class TextualInversionConfig:
    """Settings."""

    per: Literal["dataset", "user", "cluster"] = "user"  # people who share a word; dataset: everybody
    clusters: int = 20  # clusters of users by the mean of their image vectors; for per: cluster
    vectors: int = 1  # vectors per word; one, as in the paper's experiments
    train_prompt: str = "{category} {word}"  # without colours, which the word must provide
    prompt: str = "{caption} {word}"  # fields {caption}, {title}, {category} of the reference, and {word}
    steps: int = 1000  # training steps
    batch_size: int = 16  # images per batch
    accumulate: int = 1  # batches per step, shared by processes
    lr: float = 5e-3  # peak learning rate of AdamW, after the warm-up
    weight_decay: float = 0.0  # of AdamW, on the new vectors

    def __post_init__(self) -> None:
        for name in ("clusters", "vectors", "steps", "batch_size", "accumulate"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name} must be 1 or more, got {getattr(self, name)}")
        for template in (self.train_prompt, self.prompt):
            check_template(template, "word", needs=("word",))


class TextualInversion(SamplingGenerator):
    """One word per user, per cluster of users, or for all."""

    name = "textual_inversion"
    config_class = TextualInversionConfig
    learns = True
    roles: tuple[str, ...] = ("diffusion",)

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        if self.config.per == "cluster":
            self.roles = ("diffusion", "image_encoder")
        self._words: dict[str, torch.Tensor] = {}
        self._members: dict[int, str] = {}
        self._sampler: Sampler | None = None
        self._new: NewWords | None = None

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
    ) -> TextualInversion:
        """Learn the words of these users from their histories, without the references."""
        import torch

        check_episodes(episodes, catalog)
        items = user_items(catalog, episodes)
        members = self._divide(catalog, items, rng)
        names = list(dict.fromkeys(members.values()))
        pairs = [(names.index(members[user]), item) for user, rows in items.items() for item in rows]
        sampler = frozen_sampler(self.family.to_learn(), self.device)
        new = NewWords(sampler.pipeline, self.config.vectors)
        table = torch.nn.ParameterDict({"vectors": new.start(len(names), rng.for_("start"))}).to(
            sampler.device
        )
        self._learn(catalog, pairs, sampler, new, table, rng, work, tracker)
        self._catalog, self._members = catalog, members
        self.restore(dict(zip(names, table["vectors"].detach().cpu(), strict=True)))
        return self

    def _learn(
        self,
        catalog: Catalog,
        pairs: Sequence[tuple[int, int]],
        sampler: Sampler,
        new: NewWords,
        table: torch.nn.ParameterDict,
        rng: Rng,
        work: Path | None,
        tracker: TrainingTracker | None,
    ) -> None:
        from recsim_gen.core.training_loop import Schedule

        config = self.config
        denoising = Denoising(sampler, catalog)

        def loss(step: Rng) -> dict[str, torch.Tensor]:
            drawn = [pairs[k] for k in draw_rows(len(pairs), config.batch_size, step.numpy())]
            rows = [item for _, item in drawn]
            texts = [prompt_of(catalog, row, config.train_prompt, word=new.word) for row in rows]
            states = new.states(texts, table["vectors"][[word for word, _ in drawn]])
            return {"loss": denoising.loss(rows, states, step.torch())}

        schedule = Schedule(
            config.steps,
            config.lr,
            warmup=min(20, config.steps // 10),
            weight_decay=config.weight_decay,
            accumulate=config.accumulate,
        )
        data = fingerprint(catalog_key(catalog), pairs, config, self._models())
        train(self.name, table, loss, schedule, data=data, rng=rng, work=work, tracker=tracker)

    def _divide(self, catalog: Catalog, items: Mapping[int, Sequence[int]], rng: Rng) -> dict[int, str]:
        """Return {user row: name of their word}."""
        if self.config.per == "dataset":
            return dict.fromkeys(items, "<dataset>")
        if self.config.per == "user":
            return {user: f"<user-{user}>" for user in items}
        from sklearn.cluster import KMeans

        vectors = ImageVectors(catalog, family_encoder(self.family, self.device))
        x = np.stack([vectors.of(rows).numpy().mean(0) for rows in items.values()])
        means = KMeans(
            min(self.config.clusters, len(x)), n_init=10, random_state=rng.for_("k-means").integer()
        )
        return {user: f"<cluster-{k}>" for user, k in zip(items, means.fit_predict(x), strict=True)}

    def conditions(self, episode: Episode) -> Conditions:
        """Return the reference's prompt with the word of ``episode.user``.

        Raises DataError if there is none.
        """
        import torch

        self.ready()
        assert self._new is not None
        text = prompt_of(self.catalog, episode.reference, self.config.prompt, word=self._new.word)
        with torch.no_grad():
            return Conditions(self._new.states([text], self._vectors(episode)[None])[0], text=text)

    def ready(self) -> Sampler:
        """Return the sampler whose tokenizer has the word."""
        if self._sampler is None or self._new is None:
            raise SettingError(f"{self.name} is neither fitted nor loaded: call fit or load first")
        return self._sampler

    def _vectors(self, episode: Episode) -> torch.Tensor:
        if self.config.per == "dataset":
            return self._words["<dataset>"]
        name = self._members.get(episode.user)
        if name is None:
            raise DataError(
                f"episode {episode.id}: no word was learned for its user (row {episode.user}); "
                f"{len(self._members)} users have one",
                remedy="Train on histories of these users, or with per: dataset",
            )
        return self._words[name]

    def weights(self) -> dict[str, torch.Tensor]:
        """Return {word: (vectors, d)}."""
        return dict(self._words)

    def restore(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Load words. Raises DataError if they do not fit the text encoder."""
        self._sampler = Sampler(self._own_family(), self.device)
        self._new = NewWords(self._sampler.pipeline, self.config.vectors)
        for word, vectors in weights.items():
            if tuple(vectors.shape) != self._new.shape:
                raise DataError(
                    f"word {word} must be {self._new.shape}, got {tuple(vectors.shape)}",
                    remedy="Was it learned with another text encoder?",
                )
        self._words = dict(weights)

    def export(self, folder: Path, user_ids: Sequence[str]) -> Sequence[ExportedPart]:
        """Write the pipeline, a file per word for ``load_textual_inversion``, and each user's word."""
        from recsim_gen.core.protocols import ExportedPart
        from recsim_gen.models.exporting import write_pipeline

        pipeline = write_pipeline(self.family, folder)
        write_words(folder / self.name, self._words)
        write_json(folder / "users.json", {user_ids[row]: word for row, word in self._members.items()})
        first = next(iter(self._words))
        weights = f'"{self.name}", weight_name="{first.strip("<>")}.safetensors"'
        words = f'pipeline.load_textual_inversion({weights})\npicture = pipeline("a shirt {first}").images[0]'
        return [
            pipeline,
            ExportedPart(self.name, f"learned words, {len(self._words):,} in all, a file for each", words),
            ExportedPart("users.json", "user id to the word of their taste"),
        ]

    @property
    def fingerprint(self) -> str:
        """Hash that includes the assignment of users to words."""
        return fingerprint(super().fingerprint, {str(user): word for user, word in self._members.items()})

    def _write_weights(self, folder: Path) -> None:
        write_words(folder / WORDS, self._words)
        write_json(folder / MEMBERS, self._members)

    def _read_weights(self, folder: Path) -> None:
        words = read_words(folder / WORDS)
        try:
            members = json.loads((folder / MEMBERS).read_text(encoding="utf-8"))
            self._members = {int(user): str(word) for user, word in members.items()}
        except (OSError, ValueError, AttributeError) as error:
            problem = f"who has which word is wanted, got no readable list ({error})"
            raise DataError(problem, file=folder / MEMBERS, remedy="Train again") from error
        for word in self._members.values():
            if word not in words:
                raise DataError(f"no word {word!r}.{did_you_mean(word, words)}", file=folder / WORDS)
        self.restore(words)
