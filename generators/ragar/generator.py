"""The generator RAGAR: training, checkpoints and drawing."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generators.base import BaseGenerator, catalog_key, check_episodes
from generators.ragar.action import TrainingContext
from generators.ragar.config import RAGARConfig, RAGARDPOConfig, RAGARTasteConfig
from generators.ragar.evidence import PREFIX, Evidence
from generators.ragar.looks import training_choices
from generators.sampler import Sampler
from recsim_gen import __version__
from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.progress import say
from recsim_gen.core.randomness import Rng
from recsim_gen.core.store import fingerprint

if TYPE_CHECKING:
    import numpy as np
    import torch

    from generators.ragar.action import Action
    from generators.ragar.judge import PictureJudge
    from recsim_gen.core.protocols import ExportedPart, Ranker, TrainingTracker
    from recsim_gen.core.types import Catalog, Episode

PICTURES_HELD = 2048  # most candidates in memory before the best are selected


class RAGAR(BaseGenerator):
    """Retrieval-augmented personalised images, guided by a ranker (Ling et al.).

    Evidence from a history about a reference (`evidence`) becomes the condition of a frozen diffusion model
    by an `Action` (a network's states, as in the paper, or a selection of keywords), which is trained with a
    ranker's scores of the images. With ``candidates`` above 1 the ranker also selects among images; otherwise
    drawing needs no ranker.
    """

    name = "ragar"
    config_class = RAGARConfig
    training_version = 2
    learns = True
    uses_ranker = True
    roles = ("diffusion", "text_encoder", "image_encoder", "language_model")

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        config = self.config
        self.chooses = config.candidates > 1
        self.uses_ranker = config.rewarded or self.chooses
        self.weighs_doubt = config.reward == "gain" or config.action == "keywords"
        self.judge: Ranker | None = None
        self._action: Action | None = None

    @property
    def fingerprint(self) -> str:
        """Hash of name, settings, models, catalogue and weights, and of the ranker that selects images."""
        drawn = super().fingerprint
        return fingerprint(drawn, self._chooser.ranker.fingerprint) if self.chooses else drawn

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
    ) -> RAGAR:
        """Train on these episodes; ``ranker`` gives the reward, ``judge`` is held out for early stopping.

        ``catalog.features["image"]`` must be made by `encoder`. Episodes whose history is shorter than k are
        left out. Raises SettingError without a ranker, DataError for other features, an item without text,
        and if no episode is long enough.
        """
        from generators.ragar.judge import check_encoder

        config = self.config
        if self.uses_ranker and ranker is None:
            raise SettingError(
                f"{self.name} learns from a ranker's scores of its pictures: give one (--judges)"
            )
        check_episodes(episodes, catalog)
        usable = _long_enough(episodes, max(1, config.least_history))
        self._catalog, self.judge = catalog, ranker
        self.__dict__.pop("_evidence", None)
        if self.uses_ranker:
            check_encoder(catalog, self._encoder, config.encoder)
        if config.evidence == "taste":
            self._evidence.learn(training_choices(episodes))
        action = self._new_action()
        watching = None if judge is None else self._picture_judge(judge)
        rewarding = self._picture_judge(ranker) if config.rewarded and ranker is not None else None
        judges = [None if r is None else r.fingerprint for r in (ranker, judge)]
        code = __version__, self.training_version
        about = catalog_key(catalog), self._models()
        data = fingerprint(*code, *about, tuple(usable), asdict(config), judges)
        start = fingerprint(*code, *about, config.of_warm_start, rng)
        with tempfile.TemporaryDirectory() if work is None else nullcontext(work) as folder:
            run = TrainingContext(rng, Path(folder), data, start, tracker)
            action.train(usable, rewarding, watching, run)
        self._action = action
        return self

    def judged_by(self, ranker: Ranker | None) -> None:
        """Set the ranker that selects among candidates."""
        self.judge = ranker

    def draw_each(self, requests: Sequence[tuple[Episode, Rng]]) -> list[torch.Tensor]:
        """Return the best of n images for each, in batches of constant size; memory is bounded."""
        at_once = max(1, PICTURES_HELD // self.config.candidates)
        parts = [requests[start : start + at_once] for start in range(0, len(requests), at_once)]
        return [picture for part in parts for picture in self._best_of_each(part)]

    def _best_of_each(self, requests: Sequence[tuple[Episode, Rng]]) -> list[torch.Tensor]:
        import numpy as np
        import torch

        n, episodes = self.config.candidates, [episode for episode, _ in requests]
        proposals = self._ready.proposals(episodes, n)
        pairs = [
            (proposal.conditions, noise.for_("candidate", c) if c else noise)
            for (_, noise), proposed in zip(requests, proposals, strict=True)
            for c, proposal in enumerate(proposed)
        ]
        drawn = self._sampler.draw_each(pairs, f"{self.name}: drawing")
        if n == 1:
            return drawn
        pixels = torch.stack(drawn).unflatten(0, (len(requests), n))
        prior = np.array([[proposal.prior for proposal in proposed] for proposed in proposals])
        best = self.worth(episodes, pixels, prior).argmax(1)
        return [pixels[row, c] for row, c in enumerate(best.tolist())]

    def words(self, episode: Episode) -> str:
        """Return the text of each candidate, one per line."""
        (proposed,) = self._ready.proposals([episode], self.config.candidates)
        return "\n".join(dict.fromkeys(proposal.conditions.text for proposal in proposed))

    def worth(self, episodes: Sequence[Episode], pixels: torch.Tensor, prior: np.ndarray) -> np.ndarray:
        """Return (B, n) the selection criterion: the judge's lower bound of gain plus the expected gain.

        ``pixels`` (B, n, 3, H, W); ``prior`` (B, n) expected gains, weighted by the setting `prior`, since
        the judge of the image ignores that some candidates were more promising than others.
        """
        lower, own = self._chooser.bounds(episodes, pixels)
        worth: np.ndarray = (lower - own[:, None]).numpy() + self.config.prior * prior
        return worth

    def weights(self) -> dict[str, torch.Tensor]:
        """Return what the evidence and the action learned."""
        return {} if self._action is None else {**self._evidence.weights(), **self._action.weights()}

    def export(self, folder: Path, user_ids: Sequence[str]) -> Sequence[ExportedPart]:
        """Write the pipeline, and what the evidence and the action learned."""
        from recsim_gen.models.exporting import write_pipeline

        pipeline = write_pipeline(self.family, folder)
        return [pipeline, *self._evidence.export(folder), *self._ready.export(folder)]

    def restore(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Load what was learned. Raises DataError if it does not fit the models or the catalogue."""
        self._evidence.restore({n: x for n, x in weights.items() if n.startswith(PREFIX)})
        action = self._new_action()
        action.restore({n: x for n, x in weights.items() if not n.startswith(PREFIX)})
        self._action = action

    @property
    def _ready(self) -> Action:
        if self._action is None:
            raise SettingError(f"{self.name} is neither fitted nor loaded: call fit or load first")
        return self._action

    def _new_action(self) -> Action:
        from generators.ragar.keyword_action import KeywordAction
        from generators.ragar.states import StatesAction

        kind = KeywordAction if self.config.action == "keywords" else StatesAction
        return kind(self._evidence, self._sampler, self.config)

    @property
    def _chooser(self) -> PictureJudge:
        if self.judge is None:
            raise SettingError(
                f"{self.name} chooses among {self.config.candidates} pictures by a judge and has none: call "
                "judged_by, or set candidates: 1"
            )
        return self._picture_judge(self.judge)

    def _picture_judge(self, ranker: Ranker) -> PictureJudge:
        from generators.ragar.judge import PictureJudge

        return PictureJudge(ranker, self._encoder, doubt=self.config.doubt, scope=self.config.scope)

    @cached_property
    def _encoder(self) -> Any:
        from recsim_gen.encoders.features import make_encoder

        return make_encoder(self.config.encoder, self.device or "cpu")

    @cached_property
    def _sampler(self) -> Sampler:
        return Sampler(self.family, self.device)

    @cached_property
    def _evidence(self) -> Evidence:
        return Evidence(self.catalog, self.family, self.config, self.device)


class RAGARTaste(RAGAR):
    """RAGAR with our settings: evidence by taste, keywords as action, the best of several images."""

    name = "ragar_taste"
    config_class = RAGARTasteConfig


class RAGARDPO(RAGARTaste):
    """RAGARTaste whose UNet, instead of its policy, learns from pairs of images (Diffusion-DPO)."""

    name = "ragar_dpo"
    config_class = RAGARDPOConfig
    training_version = 1

    def _new_action(self) -> Action:
        from generators.ragar.preference import PreferenceAction

        self._sampler = Sampler(self._own_family(), self.device)  # with its own UNet, which is trained
        return PreferenceAction(self._evidence, self._sampler, self.config)


def _long_enough(episodes: Sequence[Episode], least: int) -> list[Episode]:
    usable = [e for e in episodes if len(e.history) >= least]
    if not usable:
        raise DataError(
            f"histories of at least k = {least} items are wanted, none of {len(episodes)} episodes has one",
            remedy="Give longer histories, or set a smaller k",
        )
    if len(usable) < len(episodes):
        say(f"ragar: {len(episodes) - len(usable):,} episodes with fewer than {least} items left out")
    return usable
