"""The generator: RAGAR trained, kept, and asked for pictures."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generators.base import SamplingGenerator, catalog_key, check_episodes
from generators.ragar.config import RAGARConfig
from generators.ragar.evidence import Evidence
from generators.sampler import Conditions, Sampler
from recsim_gen import __version__
from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.progress import say
from recsim_gen.core.randomness import Rng
from recsim_gen.core.store import fingerprint

if TYPE_CHECKING:
    import torch

    from generators.ragar.network import Network
    from generators.ragar.training import Training
    from recsim_gen.core.protocols import Ranker, TrainingTracker
    from recsim_gen.core.types import Catalog, Episode


class RAGAR(SamplingGenerator):
    """Retrieval-augmented personalised pictures, guided by a ranker (Ling et al.), as in DESIGN 6.

    What somebody's history says of a reference (`evidence`) goes through a language model with image
    tokens and a mapper (`network`) into P_gen, which conditions a frozen diffusion model; it is trained
    on what a ranker says of the pictures (`reflection`). Drawing needs no ranker.
    """

    name = "ragar"
    config_class = RAGARConfig
    learns = True
    uses_ranker = True
    roles = ("diffusion", "text_encoder", "image_encoder", "language_model")

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.uses_ranker = self.config.rewarded
        self._weights: dict[str, torch.Tensor] = {}
        self._network: Network | None = None

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
        """Train on these episodes; ``ranker`` gives the reward, ``judge`` watches.

        ``catalog.features["image"]`` must be what `encoder` makes of its pictures. Episodes whose history
        is shorter than k are left out. Raises SettingError without a ranker, DataError for other
        features, an item without text, and where no episode is long enough.
        """
        from generators.ragar.training import train

        config = self.config
        if config.rewarded and ranker is None:
            raise SettingError("ragar learns from what a ranker says of its pictures: give one (--judges)")
        check_episodes(episodes, catalog)
        usable = _long_enough(episodes, max(1, config.k))
        training = self._training(catalog, ranker, rng)
        self._catalog = catalog
        judges = [None if r is None else r.fingerprint for r in (ranker, judge)]
        data = fingerprint(catalog_key(catalog), tuple(usable), asdict(config), self._models(), judges)
        start = fingerprint(__version__, catalog_key(catalog), self._models(), config.of_warm_start, rng)
        with tempfile.TemporaryDirectory() if work is None else nullcontext(work) as folder:
            train(training, usable, work=Path(folder), data=data, start=start, judge=judge, tracker=tracker)
        self._network = training.network.eval()
        self._weights = {n: x.detach().cpu().clone() for n, x in training.network.trainable().items()}
        return self

    def _training(self, catalog: Catalog, ranker: Ranker | None, rng: Rng) -> Training:
        from generators.ragar.reflection import Reflection
        from generators.ragar.training import Training
        from recsim_gen.encoders.features import make_encoder

        config = self.config
        self.__dict__.pop("_evidence", None)
        evidence = Evidence(catalog, self.family, config, self.device)
        sampler = Sampler(self.family, self.device)
        sampler.steps = config.reward_steps or sampler.steps
        reflection = None
        if config.rewarded:
            assert ranker is not None
            encoder = make_encoder(config.encoder, self.device or "cpu")
            reflection = Reflection(sampler, catalog, ranker, encoder, config)
        self._catalog = catalog
        return Training(self._new_network(evidence, rng), evidence, sampler, reflection, config, rng)

    def _new_network(self, evidence: Evidence, rng: Rng) -> Network:
        from generators.ragar.network import Network

        pipeline = self._sampler.pipeline
        visual = evidence.visual.shape[1] if self.config.calibrator_map == "learned" else 1
        return Network(
            self.family.to_learn(),
            self.config,
            length=pipeline.tokenizer.model_max_length,
            width=self._sampler.width,
            visual=visual,
            device=self.device,
            rng=rng.for_("network"),
        )

    def conditions(self, episode: Episode) -> Conditions:
        """P_gen. Raises DataError for a history shorter than k, or a reference without text."""
        import torch

        from generators.ragar.reflection import with_key
        from generators.ragar.training import key_states

        network, sampler = self._network, self.ready()
        assert network is not None
        inputs = self._evidence.of([episode])
        with torch.no_grad():
            key, mask = key_states(sampler, inputs.keys)
            learned = network(inputs.prompts, key, mask).learned
            states = with_key(learned.float(), key).to(sampler.pipeline.unet.dtype)
        return Conditions(states[0])

    def ready(self) -> Sampler:
        """The family's sampler. Raises SettingError where nothing is learned or loaded."""
        if self._network is None:
            raise SettingError(f"{self.name} is neither fitted nor loaded: call fit or load first")
        return self._sampler

    def weights(self) -> dict[str, torch.Tensor]:
        """LoRA, image tokens, mapper, fusion, and W where it is learned."""
        return dict(self._weights)

    def restore(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Take what was learned. Raises DataError where it does not fit the models."""
        self._network = self._new_network(self._evidence, Rng(0)).eval()
        self._network.restore(weights)
        self._weights = dict(weights)

    @cached_property
    def _sampler(self) -> Sampler:
        return Sampler(self.family, self.device)

    @cached_property
    def _evidence(self) -> Evidence:
        return Evidence(self.catalog, self.family, self.config, self.device)


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
