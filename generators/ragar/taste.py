"""``ragar_taste``: RAGAR with the evidence, the action and the choice that a taste model makes possible.

Ours, not the paper's. It differs from ``ragar`` in four places, each a setting: what the history is asked
(``evidence``: the taste for this category, not the most similar captions), what is learned (a policy over
lists of keywords with exact probabilities, not noise on 4,224 states), how far it may go (``anchor``), and
what is kept (``candidates``: the best of n pictures by a judge's lower confidence bound and the posterior
of their keywords together; the judge alone forgets that later candidates are worse to begin with).
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from generators.base import BaseGenerator, catalog_key, check_episodes
from generators.ragar.config import RAGARConfig
from generators.ragar.evidence import Evidence, key_line
from generators.ragar.looks import KeywordTaste, Looks
from generators.sampler import Conditions, Sampler
from recsim_gen.core.errors import SettingError
from recsim_gen.core.store import fingerprint

if TYPE_CHECKING:
    import torch

    from generators.ragar.keyword_policy import KeywordPolicy
    from recsim_gen.core.protocols import ContentJudge, Ranker, TrainingTracker
    from recsim_gen.core.randomness import Rng
    from recsim_gen.core.types import Catalog, Episode

PART = "ragar_taste"


@dataclass(frozen=True)
class RAGARTasteConfig:
    """Settings. Values were chosen on validation choices of Boutique."""

    # Evidence
    evidence: Literal["taste", "caption"] = "taste"  # caption: the keywords that `ragar` retrieves, one look
    looks: int = 16  # C: lists of keywords an episode that the policy chooses among
    caution: float = 0.0  # standard deviations of gain taken off: above 0, the reference's look stays more
    temperature: float = 0.5  # τ of the policy's start, in units of gain
    k: int = 5  # items that `evidence: caption` retrieves
    keywords: int = 3  # keywords that `evidence: caption` keeps

    # Reward and policy (Eq. 13–15)
    reward: Literal["gain", "none"] = "gain"  # gain: lower bound of the score less that of the own picture
    doubt: float = 0.5  # κ: standard deviations that the lower confidence bound takes off
    noises: int = 3  # r: pictures of an episode in a step beside the first: 3 in the paper (Sec. 5.1)
    anchor: float = 0.05  # weight of KL(π ‖ π₀), in units of reward
    steps: int = 100  # of training
    lr: float = 0.02  # of AdamW
    batch_size: int = 8  # episodes of a batch
    accumulate: int = 1  # batches of a step, which processes share
    reward_steps: int = 5  # of the sampler while training; 0: as many as the family draws with
    weight_decay: float = 0.0  # of the policy
    evaluate_every: int = 25  # steps between evaluations
    evaluation_episodes: int = 16  # fixed training episodes that evaluations draw

    # Drawing
    candidates: int = 1  # n: pictures of which the best is kept; 1: no choice
    prior: float = 1.0  # weight of the keywords' posterior gain beside the judge of the picture
    encoder: str = "pixels"  # what made the judge's image features: a spec as of --encoders.image

    def __post_init__(self) -> None:
        for name in ("looks", "noises", "batch_size", "accumulate", "candidates", "evaluate_every"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name} must be 1 or more, got {getattr(self, name)}")
        for name in ("caution", "doubt", "anchor", "steps", "reward_steps", "weight_decay", "prior", "k"):
            if getattr(self, name) < 0:
                raise SettingError(f"{name} must be 0 or more, got {getattr(self, name)}")
        if self.temperature <= 0:
            raise SettingError(f"temperature must be above 0, got {self.temperature}")


class RAGARTaste(BaseGenerator):
    """Composes the keywords that somebody would like of the reference, draws them, and keeps the best.

    The reward and the choice among candidates come from a content judge (``--ranker taste``), which says
    what it thinks of a picture and how sure it is.
    """

    name = "ragar_taste"
    config_class = RAGARTasteConfig
    learns = True
    uses_ranker = True
    roles = ("diffusion", "text_encoder", "image_encoder", "language_model")

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.judge: ContentJudge | None = None
        self._weights: dict[str, torch.Tensor] = {}
        self._taste: KeywordTaste | None = None
        self._policy: KeywordPolicy | None = None

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
    ) -> RAGARTaste:
        """Learn tastes for keywords from the histories, then the policy from ``ranker``'s word.

        Raises SettingError for a ranker that does not say how sure it is, DataError for an item without
        text.
        """
        check_episodes(episodes, catalog)
        self._catalog = catalog
        self.judged_by(ranker)
        self._taste = KeywordTaste(catalog, self._evidence.keywords, _histories(episodes))
        self._policy = self._new_policy()
        if self.config.reward == "gain" and self.config.steps:
            with tempfile.TemporaryDirectory() if work is None else nullcontext(work) as folder:
                self._train(episodes, ranker, rng, Path(folder), tracker)
        arrays = {f"taste.{name}": x for name, x in self._taste.model.arrays().items()}
        learned = {f"policy.{name}": x for name, x in self._policy.state_dict().items()}
        self._weights = {**_tensors(arrays), **{n: x.detach().cpu().clone() for n, x in learned.items()}}
        return self

    def judged_by(self, ranker: Ranker | None) -> None:
        """Take the judge that gives the reward and chooses among candidates.

        Raises SettingError where one is needed and this is none that says how sure it is.
        """
        from recsim_gen.core.protocols import ContentJudge

        needed = self.config.reward != "none" or self.config.candidates > 1
        if needed and not isinstance(ranker, ContentJudge):
            raise self._unjudged("none" if ranker is None else ranker.name)
        self.judge = ranker if isinstance(ranker, ContentJudge) else None

    def _unjudged(self, got: str) -> SettingError:
        return SettingError(
            f"{self.name} needs a judge that says how sure it is: --judges taste-seed0, got {got}"
        )

    def _new_policy(self) -> KeywordPolicy:
        from generators.ragar.keyword_policy import KeywordPolicy

        assert self._taste is not None
        words = sorted({word for keywords in self._taste.lists for word in keywords})
        return KeywordPolicy(words, temperature=self.config.temperature, caution=self.config.caution)

    def _train(
        self,
        episodes: Sequence[Episode],
        ranker: Ranker | None,
        rng: Rng,
        work: Path,
        tracker: TrainingTracker | None,
    ) -> None:
        from generators.denoising import draw_rows
        from generators.ragar.keyword_policy import divergence, draw_actions, keyword_loss
        from recsim_gen.core.training_loop import Schedule, fit, forget

        config, policy = self.config, self._policy
        assert policy is not None
        assert ranker is not None
        sampler = Sampler(self.family, self.device)
        sampler.steps = config.reward_steps or sampler.steps

        def loss(step: Rng) -> dict[str, torch.Tensor]:
            rows = dict.fromkeys(draw_rows(len(episodes), config.batch_size, step.numpy()))
            batch = [episodes[row] for row in rows]
            looks = self._looks(batch)
            choices = policy.choices(looks)
            log_policy = policy(choices)
            streams = [step.for_("action", e.id).torch() for e in batch]
            actions = draw_actions(log_policy, config.noises + 1, streams)
            reward = self._rewards(sampler, batch, looks, actions, step)
            far = divergence(log_policy, choices.start)
            return {
                "loss": keyword_loss(log_policy, actions, reward) + config.anchor * far,
                "reward": reward.mean(),
                "divergence": far.detach(),
            }

        judges = [ranker.fingerprint]
        data = fingerprint(catalog_key(self.catalog), tuple(episodes), asdict(config), self._models(), judges)
        schedule = Schedule(
            config.steps,
            config.lr,
            warmup=min(10, config.steps // 10),
            weight_decay=config.weight_decay,
            log_every=10,
            accumulate=config.accumulate,
        )
        fit(PART, policy, loss, schedule, output=work, data=data, rng=rng.for_("policy"), tracker=tracker)
        forget(work, PART)

    def _rewards(
        self,
        sampler: Sampler,
        episodes: Sequence[Episode],
        looks: Sequence[Looks],
        actions: torch.Tensor,
        step: Rng,
    ) -> torch.Tensor:
        """(B, T) rewards of the pictures of these actions, all of an episode from one latent."""
        import torch

        count = actions.shape[1]
        texts = [
            self._text(episode, one.keywords[c])
            for episode, one, chosen in zip(episodes, looks, actions.tolist(), strict=True)
            for c in chosen
        ]
        streams = [step.for_("latents", e.id) for e in episodes for _ in range(count)]
        states = sampler.states(texts).to(sampler.pipeline.unet.dtype)
        pixels = sampler.draw(states, streams)
        gain = self._gains([e for e in episodes for _ in range(count)], list(pixels))
        return torch.from_numpy(gain).float().reshape(len(episodes), count)

    def _gains(self, episodes: Sequence[Episode], pixels: Sequence[torch.Tensor]) -> np.ndarray:
        """(B,) lower bound of what each person thinks of the picture, less what of the reference's own."""
        import torch

        from generators.ragar.reflection import pictures

        if self.judge is None:
            raise self._unjudged("none")
        histories = [np.array([*e.history, e.reference]) for e in episodes]
        items = np.array([e.reference for e in episodes])
        x = self._encoder.encode_images(pictures(torch.stack(list(pixels))))
        new = self.judge.appraise(histories, items, {"image": x})
        own = self.judge.appraise(histories, items, {})
        gain: np.ndarray = new.mean - self.config.doubt * new.sd - own.mean
        return gain

    def draw_each(self, requests: Sequence[tuple[Episode, Rng]]) -> list[torch.Tensor]:
        """The best of n pictures for each, in batches of one size."""
        n, sampler = self.config.candidates, self._sampler
        if not requests:
            return []
        looks = self._ranked([episode for episode, _ in requests])
        pairs: list[tuple[Conditions, Rng]] = []
        prior: list[float] = []
        whose: list[int] = []
        for row, ((episode, noise), one) in enumerate(zip(requests, looks, strict=True)):
            for c, keywords in enumerate(one.keywords[:n]):
                text = self._text(episode, keywords)
                pairs.append(
                    (Conditions(sampler.states([text])[0]), noise.for_("candidate", c) if c else noise)
                )
                prior.append(float(one.gain[c]))
                whose.append(row)
        drawn = sampler.draw_each(pairs, f"{self.name}: drawing")
        if n == 1:
            return drawn
        worth = self._gains([requests[row][0] for row in whose], drawn) + self.config.prior * np.array(prior)
        best: dict[int, int] = {}
        for place, row in enumerate(whose):
            if row not in best or worth[place] > worth[best[row]]:
                best[row] = place
        return [drawn[best[row]] for row in range(len(requests))]

    def _looks(self, episodes: Sequence[Episode]) -> list[Looks]:
        """What each episode's reference could look like."""
        config = self.config
        if config.evidence == "taste":
            assert self._taste is not None
            return self._taste.looks(episodes, most=config.looks, caution=config.caution)
        keys = self._evidence.of(episodes).keys
        alone = np.zeros(1)
        lists = [key.split(", ")[1:] for key in keys]
        return [Looks([words], alone, alone, alone) for words in lists]

    def _ranked(self, episodes: Sequence[Episode]) -> list[Looks]:
        """The looks of each episode, those that the policy likes best first."""
        import torch

        policy, looks = self._policy, self._looks(episodes)
        assert policy is not None
        with torch.no_grad():
            order = torch.argsort(policy(policy.choices(looks)), dim=1, descending=True, stable=True).tolist()
        return [one.take(row[: len(one.keywords)]) for one, row in zip(looks, order, strict=True)]

    def _text(self, episode: Episode, keywords: Sequence[str]) -> str:
        category = str(self.catalog.categories[episode.reference]).strip()
        return key_line(category, keywords)

    def weights(self) -> dict[str, torch.Tensor]:
        """The taste model of keywords and the policy."""
        return dict(self._weights)

    def restore(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Take what was learned. Raises DataError where it does not fit the catalogue."""
        from recsim_gen.taste.model import TasteModel

        arrays = {n.removeprefix("taste."): x.numpy() for n, x in weights.items() if n.startswith("taste.")}
        model = TasteModel.of_arrays(arrays)
        self._taste = KeywordTaste(self.catalog, self._evidence.keywords, model=model)
        self._policy = self._new_policy()
        learned = {n.removeprefix("policy."): x for n, x in weights.items() if n.startswith("policy.")}
        self._policy.load_state_dict(learned)
        self._weights = dict(weights)

    @cached_property
    def _sampler(self) -> Sampler:
        return Sampler(self.family, self.device)

    @cached_property
    def _encoder(self) -> Any:
        from recsim_gen.encoders.features import make_encoder

        return make_encoder(self.config.encoder, self.device or "cpu")

    @cached_property
    def _evidence(self) -> Evidence:
        caption = RAGARConfig(k=self.config.k, keywords=self.config.keywords)
        return Evidence(self.catalog, self.family, caption, self.device)


def _histories(episodes: Sequence[Episode]) -> list[np.ndarray]:
    """Items of each user of training episodes, references among them: all are choices of training."""
    items: dict[int, dict[int, None]] = {}
    for episode in episodes:
        items.setdefault(episode.user, {}).update(dict.fromkeys([*episode.history, episode.reference]))
    return [np.array([*rows]) for _, rows in sorted(items.items())]


def _tensors(arrays: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
    import torch

    return {name: torch.from_numpy(np.ascontiguousarray(x)) for name, x in arrays.items()}
