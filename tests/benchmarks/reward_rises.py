"""Does the reward rise in training, and more than without its meaning? `ragar_taste`'s policy, five seeds.

    python tests/benchmarks/reward_rises.py 100 --output runs/reward_rises

Three trainings a seed on the shipped family: by the judge's reward, by the same rewards given to other
pictures of the episode (shuffled), and none (r = 0: the policy stays where it starts). All looks of so many
episodes are drawn once, each from the same latents, and judged; so what a policy may expect, Σ_c π(c)·R(c),
is exact, and two policies differ by their probabilities alone. Beside it the reward of the look that each
likes best, which is what is drawn, and true liking of both.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from analysis.figures import COLOURS, STYLE, save
from generators.ragar.generator import RAGARTaste
from generators.ragar.judge import PictureJudge
from generators.ragar.keyword_action import KeywordAction
from generators.ragar.looks import Looks
from recsim_gen.artifacts.trained_generators import chosen_episodes
from recsim_gen.core.progress import bar
from recsim_gen.core.protocols import Ranker
from recsim_gen.core.randomness import Rng
from recsim_gen.core.results import Results
from recsim_gen.core.specs import JudgeSpec
from recsim_gen.core.types import Episode
from recsim_gen.datasets.boutique.world import Boutique
from recsim_gen.datasets.episodes import training_episodes
from recsim_gen.datasets.opening import open_data
from recsim_gen.encoders.features import encode
from recsim_gen.judging.judges import Judge, open_judges

JUDGE = "taste@boutique-clip-seed0"
KINDS = ("reward", "shuffled", "none")
MEASURES = {
    "reward": "reward expected",
    "liking": "liking expected",
    "best_reward": "reward of the best look",
    "best_liking": "liking of the best look",
}


class Shuffled(PictureJudge):
    """The same scores, given to other pictures of the same episode."""

    def bounds(self, episodes, pixels):
        """(B, T) and (B,), the T of each episode in another order."""
        lower, own = super().bounds(episodes, pixels)
        order = [
            Rng(0).for_(e.id, float(lower[b, 0])).numpy().permutation(lower.shape[1] - 1)
            for b, e in enumerate(episodes)
        ]
        mixed = torch.stack([row[torch.from_numpy(o)] for row, o in zip(lower, order, strict=True)])
        return torch.cat([mixed, lower[:, -1:]], 1), own


class TrainedByShuffled(RAGARTaste):
    """Learns from rewards without meaning."""

    def _picture_judge(self, ranker: Ranker) -> PictureJudge:
        return Shuffled(ranker, self._encoder, doubt=self.config.doubt, scope=self.config.scope)


def trained(kind: str, seed: int, judge: Judge, dataset: Boutique, **settings: object) -> RAGARTaste:
    """The generator of one training; ``none``: where all of them start."""
    of = TrainedByShuffled if kind == "shuffled" else RAGARTaste
    reward = "none" if kind == "none" else "gain"
    encoder = judge.catalog.encoder_of("image")
    made = of(device="cpu", candidates=1, reward=reward, encoder=encoder, **settings)
    return made.fit(judge.catalog, training_episodes(dataset), ranker=judge.ranker, rng=Rng(seed))


@dataclass(frozen=True)
class DrawnLooks:
    """The looks of B episodes, and what their pictures are worth: mean over latents.

    ``reward`` (B, C) the judge's lower bound less the own picture's; ``liking`` (B, C) true. 0 where an
    episode has fewer than C.
    """

    looks: list[Looks]
    reward: torch.Tensor
    liking: torch.Tensor

    @classmethod
    def of(
        cls, start: RAGARTaste, judge: Judge, dataset: Boutique, episodes: Sequence[Episode], latents: int = 1
    ) -> DrawnLooks:
        """Draw and judge them all, an episode at a time."""
        looks = start._evidence.looks(episodes)
        shape = len(episodes), max(len(one.keywords) for one in looks)
        reward, liking = torch.zeros(shape), torch.zeros(shape)
        asked = PictureJudge(judge.ranker, start._encoder, doubt=start.config.doubt, scope="graph")
        reader = start.family.verifier(device="cpu")
        for b, (e, one) in enumerate(zip(bar(episodes, "looks"), looks, strict=True)):
            texts = [start._evidence.text(e.reference, words) for words in one.keywords]
            states, count = start._sampler.states(texts), len(texts)
            for latent in range(latents):
                pixels = start._sampler.draw(states, [Rng(latent).for_("latents", e.id)] * count)
                lower, own = asked.bounds([e], pixels[None])
                reward[b, :count] += (lower[0] - own[0]).float() / latents
                codes = np.asarray(reader.read(pixels).codes)
                true = dataset.utility(np.full(count, e.user), codes)
                liking[b, :count] += torch.from_numpy(true).float() / latents
        return cls(looks, reward, liking)

    def measured(self, generator: RAGARTaste) -> dict[str, float]:
        """What the policy of ``generator`` expects, and what the look is worth that it likes best."""
        action = generator._action
        assert isinstance(action, KeywordAction)
        log_policy = action.log_policy(self.looks)
        share, best = log_policy.exp(), log_policy.argmax(1, keepdim=True)
        found = {}
        for name, worth in (("reward", self.reward), ("liking", self.liking)):
            found[name] = float((share * worth).sum(1).mean())
            found[f"best_{name}"] = float(worth.gather(1, best).mean())
        return found


def rises(episodes: int, seeds: Sequence[int], *, latents: int = 2, **settings: object) -> pd.DataFrame:
    """A row per seed and kind: each of `MEASURES` on test episodes after training, less that before."""
    dataset = open_data("boutique")
    assert isinstance(dataset, Boutique)
    (judge,) = open_judges([JudgeSpec(JUDGE)], dataset, encode(dataset), results=Results("reward_rises", {}))
    start = trained("none", 0, judge, dataset, **settings)
    drawn = DrawnLooks.of(start, judge, dataset, chosen_episodes(dataset, episodes)[0], latents)
    before = drawn.measured(start)
    print("before", before, flush=True)
    rows = []
    for seed in seeds:
        for kind in KINDS:
            after = (
                before if kind == "none" else drawn.measured(trained(kind, seed, judge, dataset, **settings))
            )
            rows.append({"seed": seed, "kind": kind, **{name: after[name] - before[name] for name in before}})
            print(rows[-1], flush=True)
    return pd.DataFrame(rows)


def draw(table: pd.DataFrame, path: Path) -> list[Path]:
    """The changes of each seed, a panel per measure and a column per kind."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 3.0), layout="constrained")
        panels = figure.subplots(1, len(MEASURES), sharey=True)
        for axes, (measure, title) in zip(panels, MEASURES.items(), strict=True):
            for place, kind in enumerate(KINDS):
                values = table.loc[table["kind"] == kind, measure]
                axes.plot([place] * len(values), values, "o", color=COLOURS[place], alpha=0.7)
                axes.plot([place - 0.2, place + 0.2], [values.mean()] * 2, color="black")
            axes.axhline(0, color="0.5", linewidth=0.8, linestyle="--")
            axes.set_xticks(range(len(KINDS)), KINDS)
            axes.set_title(title)
        panels[0].set_ylabel("after training, less before")
        return save(figure, path)


def main() -> None:
    """Print the table and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("episodes", type=int)
    parser.add_argument("--output", type=Path, default=Path("runs/reward_rises"))
    options = parser.parse_args()
    table = rises(options.episodes, range(5))
    summary = table.groupby("kind", sort=False)[[*MEASURES]].agg(["mean", "min", "max"])
    print(summary.T.to_markdown(floatfmt=".3f"))
    print(*draw(table, options.output), sep="\n")


if __name__ == "__main__":
    main()
