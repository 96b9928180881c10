"""Does the reward rise in training, and more than without its meaning? `ragar_taste`'s policy, five seeds.

    python tests/benchmarks/reward_rises.py 100 --output runs/reward_rises

Three trainings a seed on the shipped family: by the judge's reward, by the same rewards given to other
pictures of the episode (shuffled), and none. So many test episodes are drawn once before and once after, the
policy's best look of each from one latent: the change of the judge's lower bound of gain, and of true liking.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from analysis.figures import COLOURS, STYLE, save
from generators.ragar.generator import RAGARTaste
from generators.ragar.judge import PictureJudge
from recsim_gen.artifacts.trained_generators import chosen_episodes
from recsim_gen.core.protocols import Ranker
from recsim_gen.core.randomness import Rng
from recsim_gen.core.results import Results
from recsim_gen.core.specs import JudgeSpec
from recsim_gen.datasets.boutique.world import Boutique
from recsim_gen.datasets.episodes import training_episodes
from recsim_gen.datasets.opening import open_data
from recsim_gen.encoders.features import encode
from recsim_gen.judging.judges import Judge, open_judges

JUDGE = "taste@boutique-clip-seed0"
KINDS = ("reward", "shuffled", "none")


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
    """Learns from rewards without meaning, and is judged as they are."""

    def _picture_judge(self, ranker: Ranker) -> PictureJudge:
        return Shuffled(ranker, self._encoder, doubt=self.config.doubt, scope=self.config.scope)


def trained(kind: str, seed: int, judge: Judge, dataset: Boutique, **settings: object) -> RAGARTaste:
    """The generator of one training; ``none``: where all of them start."""
    of = TrainedByShuffled if kind == "shuffled" else RAGARTaste
    reward = "none" if kind == "none" else "gain"
    encoder = judge.catalog.encoder_of("image")
    made = of(device="cpu", candidates=1, reward=reward, encoder=encoder, **settings)
    return made.fit(judge.catalog, training_episodes(dataset), ranker=judge.ranker, rng=Rng(seed))


def measured(generator: RAGARTaste, judge: Judge, dataset: Boutique, episodes: int) -> tuple[float, float]:
    """Mean gain by the judge, and true liking, of a picture of each of so many test episodes."""
    chosen, _ = chosen_episodes(dataset, episodes)
    pixels = torch.from_numpy(np.asarray(generator.generate(chosen, rng=Rng(0)).pixels))
    asked = PictureJudge(judge.ranker, generator._encoder, doubt=generator.config.doubt, scope="graph")
    lower, own = asked.bounds(chosen, pixels[:, None])
    codes = np.asarray(generator.family.verifier(device="cpu").read(pixels).codes)
    liking = dataset.utility(np.array([e.user for e in chosen]), codes)
    return float((lower[:, 0] - own).mean()), float(liking.mean())


def rises(episodes: int, seeds: range, **settings: object) -> pd.DataFrame:
    """A row per seed and kind: ``gain`` and ``liking`` after training, less those before."""
    dataset = open_data("boutique")
    assert isinstance(dataset, Boutique)
    (judge,) = open_judges([JudgeSpec(JUDGE)], dataset, encode(dataset), results=Results("reward_rises", {}))
    before = measured(trained("none", 0, judge, dataset, **settings), judge, dataset, episodes)
    rows = []
    for seed in seeds:
        for kind in KINDS[:2]:
            after = measured(trained(kind, seed, judge, dataset, **settings), judge, dataset, episodes)
            gain, liking = (a - b for a, b in zip(after, before, strict=True))
            rows.append({"seed": seed, "kind": kind, "gain": gain, "liking": liking})
            print(rows[-1], flush=True)
        rows.append({"seed": seed, "kind": "none", "gain": 0.0, "liking": 0.0})
    return pd.DataFrame(rows)


def draw(table: pd.DataFrame, path: Path) -> list[Path]:
    """The changes of each seed, a column per kind."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 3.2), layout="constrained")
        for axes, (measure, title) in zip(
            figure.subplots(1, 2),
            (("gain", "the judge's lower bound"), ("liking", "true liking")),
            strict=True,
        ):
            for place, kind in enumerate(KINDS):
                values = table.loc[table["kind"] == kind, measure]
                axes.plot([place] * len(values), values, "o", color=COLOURS[place], alpha=0.7)
                axes.plot([place - 0.2, place + 0.2], [values.mean()] * 2, color="black")
            axes.axhline(0, color="0.5", linewidth=0.8, linestyle="--")
            axes.set_xticks(range(len(KINDS)), KINDS)
            axes.set(title=title, ylabel="after training, less before")
        return save(figure, path)


def main() -> None:
    """Print the table and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("episodes", type=int)
    parser.add_argument("--output", type=Path, default=Path("runs/reward_rises"))
    options = parser.parse_args()
    table = rises(options.episodes, range(5))
    print(
        table.groupby("kind", sort=False)[["gain", "liking"]]
        .agg(["mean", "min", "max"])
        .to_string(float_format="%.3f")
    )
    print(*draw(table, options.output), sep="\n")


if __name__ == "__main__":
    main()
