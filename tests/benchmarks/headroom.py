"""What is there to win for a personalised picture? What histories know, and what a ranker's reward knows.

    python tests/benchmarks/headroom.py 60

Boutique, whose tastes are known. First table, test episodes: the true liking of a look put together from the
most frequent main colour, second colour and pattern of some of the history's items, in the reference's
category. Tastes agree within groups of categories: captions name the category, and co-choices show the group.

Second table, so many training episodes: twelve pictures are drawn around the states of RAGAR's keywords, with
noise of several sizes. Of each episode: the picture without noise, the mean of the noisy ones, the one that
the ranker likes best, and the one that the person truly likes best; each with the ranker's ρ − ρ_own and the
true liking. What the ranker's choice is worth shows beside the mean of the noisy pictures, among which it
chooses: above that it finds taste; below the picture without noise, noise costs more than it finds.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from generators.ragar.config import RAGARConfig
from generators.ragar.evidence import Evidence
from generators.ragar.fusion import spread
from generators.ragar.judge import PictureJudge, check_encoder
from generators.ragar.reflection import with_key
from generators.sampler import Sampler
from generators.shop import drawn, known_world
from recsim_gen.artifacts.trained_rankers import trained_ranker
from recsim_gen.core.randomness import Rng
from recsim_gen.datasets.boutique.attributes import GROUP_CODES
from recsim_gen.datasets.episodes import training_episodes
from recsim_gen.datasets.opening import open_data
from recsim_gen.encoders.features import encode, make_encoder
from recsim_gen.encoders.retrieval import retrieve
from recsim_gen.models.family import open_family

IMAGES, SIGMAS = 12, (0.25, 0.5, 1.0, 2.0)


def most_frequent(looks: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """(4,) codes: the most frequent colours and pattern of ``looks`` (m, 4), the reference's category."""
    if not len(looks):
        return reference
    order = [[value for value, _ in Counter(column).most_common()] for column in looks.T.tolist()]
    _, main, second, pattern = order
    other = next((c for c in [*second, reference[2], reference[1]] if c != main[0]), reference[2])
    return np.array([reference[0], main[0], other, pattern[0]])


def what_histories_know() -> pd.DataFrame:
    """True liking of the most frequent look among parts of the history; means over all test episodes."""
    dataset = open_data("boutique")
    world = known_world(dataset.catalog)
    evidence = Evidence(dataset.catalog, open_family("embedded"), RAGARConfig(), None)
    latest = [replace(e, history=e.history[-RAGARConfig.history :]) for e in dataset.episodes]
    retrieved = retrieve(latest, evidence.semantic)
    parts: dict[str, list[np.ndarray]] = {}
    for k in (1, 3, 5, 10):
        parts[f"{k} retrieved by caption"] = [world.codes[rows] for rows in retrieved.between(0, k)]
    parts["all 20"] = [world.codes[list(e.history)] for e in latest]
    reference = world.codes[[e.reference for e in latest]]
    alike = [
        x[GROUP_CODES[x[:, 0]] == GROUP_CODES[r[0]]] for x, r in zip(parts["all 20"], reference, strict=True)
    ]
    parts["those of the reference's group"] = alike
    user = np.array([e.user for e in latest])
    rows = [{"look": "the reference itself", "liking": world.utility(user, reference).mean()}]
    for name, looks in parts.items():
        made = np.array([most_frequent(x, r) for x, r in zip(looks, reference, strict=True)])
        rows.append({"look": name, "liking": world.utility(user, made).mean()})
    best = [world.best_attributes(e.user, world.attributes(e.reference).category).codes for e in latest]
    rows.append({"look": "oracle", "liking": world.utility(user, np.array(best)).mean()})
    return pd.DataFrame(rows)


class Reward:
    """Episodes of the shop, MICRO (seed 0), and the models that draw."""

    def __init__(self, n: int) -> None:
        self.family, self.config, self.rng = open_family("embedded"), RAGARConfig(), Rng(0)
        dataset = open_data("boutique")
        self.catalog = encode(dataset)
        self.world, self.verifier = known_world(self.catalog), self.family.verifier()
        self.ranker = trained_ranker("micro", self.catalog, dataset.interactions, seed=0)
        every = [e for e in training_episodes(dataset) if len(e.history) >= self.config.k]
        self.episodes = [every[row] for row in self.rng.numpy().permutation(len(every))[:n].tolist()]
        self.user = np.array([e.user for e in self.episodes])
        self.sampler = Sampler(self.family)
        encoder = make_encoder(self.catalog.encoder_of("image"), "cpu")
        check_encoder(self.catalog, encoder, self.config.encoder)
        self.judge = PictureJudge(self.ranker, encoder, doubt=self.config.doubt, scope=self.config.scope)
        self.sampler.steps = self.config.reward_steps

    def judged(self, pixels: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """ρ − ρ_own and true liking, (n, T) each, of pictures (n, T, 3, H, W)."""
        score, own = self.judge.scores(self.episodes, pixels)
        codes = [np.asarray(self.verifier.read(part).codes) for part in pixels.flatten(0, 1).split(64)]
        looks = np.concatenate(codes).reshape(*pixels.shape[:2], 4)
        return (score - own[:, None]).numpy(), self.world.utility(self.user[:, None], looks)

    def noisy(self, sigma: float) -> torch.Tensor:
        """(n, T, 3, H, W) pictures of the keywords' states and noise, the first without."""
        known = Evidence(self.catalog, self.family, self.config, None).of(self.episodes)
        key = self.sampler.states(known.keys).float()
        mean, stream = spread(key, key.shape[1]), self.rng.for_(str(sigma)).torch()
        noise = torch.randn(len(key), IMAGES, *mean.shape[1:], generator=stream)
        noise[:, 0] = 0
        states = with_key(mean[:, None] + sigma * noise, key)
        latents = [self.rng.for_("latents", e.id) for e in self.episodes for _ in range(IMAGES)]
        return self.sampler.draw(states.flatten(0, 1), latents).unflatten(0, (len(key), IMAGES))

    def rows(self) -> Iterator[dict[str, Any]]:
        """A row per size of noise and choice."""
        own = self.world.utility(self.user, self.world.codes[[e.reference for e in self.episodes]])
        yield {"sigma": 0, "picture": "own", "score gain": 0, "liking": own.mean()}
        best = [
            self.world.best_attributes(e.user, self.world.attributes(e.reference).category)
            for e in self.episodes
        ]
        pictures = [drawn(look, self.rng.for_(e.id)) for look, e in zip(best, self.episodes, strict=True)]
        gain, liking = self.judged(torch.stack(pictures)[:, None])
        yield {"sigma": 0, "picture": "oracle", "score gain": gain.mean(), "liking": liking.mean()}
        at = np.arange(len(own))
        for sigma in SIGMAS:
            gain, liking = self.judged(self.noisy(sigma))
            choices = {
                "without noise": 0,
                "best by ranker": gain.argmax(1),
                "best by taste": liking.argmax(1),
            }
            for name, choice in choices.items():
                chosen = {"score gain": gain[at, choice].mean(), "liking": liking[at, choice].mean()}
                yield {"sigma": sigma, "picture": name, **chosen}
            yield {
                "sigma": sigma,
                "picture": "mean of the noisy pictures",
                "score gain": gain[:, 1:].mean(),
                "liking": liking[:, 1:].mean(),
            }


if __name__ == "__main__":
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    for table in (what_histories_know(), pd.DataFrame(Reward(n).rows())):
        print(table.to_markdown(index=False, floatfmt=".3f"), end="\n\n")
