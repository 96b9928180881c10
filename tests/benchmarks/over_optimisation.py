"""Does choosing harder please people more? The best of n pictures of `ragar_taste`, by several judges.

    python tests/benchmarks/over_optimisation.py 100 --output runs/over_optimisation

Boutique, whose tastes are known. So many test episodes; 64 candidates of each are drawn once, and every
judge chooses the best of the first n: by its lower bound of gain alone, or, as `ragar_taste` does, together
with the expected gain of the keywords (prior 1). Table and figure: true liking of what is kept, less
that of the item itself, and what the judge itself believes it has gained. Where the judge's own number rises
and liking falls, it is over-optimised.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from analysis.figures import COLOURS, STYLE, save
from generators.ragar.config import RAGARTasteConfig
from generators.ragar.generator import RAGARTaste
from generators.ragar.judge import PictureJudge
from recsim_gen.artifacts.trained_generators import chosen_episodes
from recsim_gen.core.randomness import Rng
from recsim_gen.core.results import Results
from recsim_gen.core.specs import JudgeSpec
from recsim_gen.core.statistics import bootstrap
from recsim_gen.core.types import Episode
from recsim_gen.datasets.boutique.world import Boutique
from recsim_gen.datasets.episodes import training_episodes
from recsim_gen.datasets.opening import open_data
from recsim_gen.encoders.features import encode, make_encoder
from recsim_gen.judging.judges import Judge, open_judges

NUMBERS = (1, 2, 4, 8, 16, 32, 64)
JUDGES = ("taste@boutique-clip-seed0", "micro@boutique-clip-seed0", "micro-seed0")
BATCH = 32  # episodes whose candidates are drawn at a time


@dataclass(frozen=True)
class Candidates:
    """Of B episodes: ``pixels`` (B, 64, 3, H, W), ``expected`` gains (B, 64), ``liking`` (B, 64) less own."""

    episodes: tuple[Episode, ...]
    pixels: torch.Tensor
    expected: np.ndarray
    liking: np.ndarray


def candidates(dataset: Boutique, count: int) -> list[Candidates]:
    """The candidates of so many test episodes, in the order in which `ragar_taste` draws them."""
    generator = RAGARTaste(device="cpu", candidates=1, reward="none")
    generator.fit(dataset.catalog, training_episodes(dataset), rng=Rng(0))
    reader, (episodes, _) = generator.family.verifier(device="cpu"), chosen_episodes(dataset, count)
    drawn = []
    for start in range(0, len(episodes), BATCH):
        part = episodes[start : start + BATCH]
        proposals = generator._ready.proposals(part, NUMBERS[-1])
        streams = [Rng(0).for_("noise", e.id, 0) for e in part]
        pairs = [
            (proposal.conditions, stream.for_("candidate", c) if c else stream)
            for stream, proposed in zip(streams, proposals, strict=True)
            for c, proposal in enumerate(proposed)
        ]
        flat = torch.stack(generator._sampler.draw_each(pairs, "candidates"))
        users = np.array([e.user for e in part])
        codes = np.asarray(reader.read(flat).codes).reshape(len(part), NUMBERS[-1], 4)
        own = dataset.utility(users, dataset.world.codes[[e.reference for e in part]])
        expected = np.array([[proposal.prior for proposal in proposed] for proposed in proposals])
        pixels, liking = flat.unflatten(0, (len(part), -1)), dataset.utility(users[:, None], codes)
        drawn.append(Candidates(part, pixels, expected, liking - own[:, None]))
    return drawn


def best_of(drawn: list[Candidates], judge: Judge, prior: float) -> pd.DataFrame:
    """``liking`` and what the judge believes of the best of n, a row per episode and n."""
    encoder = make_encoder(judge.catalog.encoder_of("image"))
    asked = PictureJudge(judge.ranker, encoder, doubt=RAGARTasteConfig.doubt, scope="graph")
    frames = []
    for part in drawn:
        lower, own = asked.bounds(part.episodes, part.pixels)
        believed = (lower - own[:, None]).numpy()
        for n in NUMBERS:
            best = (believed + prior * part.expected)[:, :n].argmax(1)
            at = np.arange(len(best)), best
            numbers = {"user": [e.user for e in part.episodes], "n": n}
            frames.append(pd.DataFrame({**numbers, "liking": part.liking[at], "believed": believed[at]}))
    return pd.concat(frames)


def main() -> None:
    """Print the table and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("episodes", type=int)
    parser.add_argument("--output", type=Path, default=Path("runs/over_optimisation"))
    options = parser.parse_args()
    dataset = open_data("boutique")
    assert isinstance(dataset, Boutique)
    specs = [JudgeSpec(name) for name in JUDGES]
    judges = open_judges(specs, dataset, encode(dataset), results=Results("over_optimisation", {}))
    drawn = candidates(dataset, options.episodes)
    rows = []
    for judge, prior in ((judges[0], 1.0), *((judge, 0.0) for judge in judges)):
        name = f"{judge.label}{' and keywords' if prior else ' alone'}"
        for n, part in best_of(drawn, judge, prior).groupby("n"):
            e = bootstrap(part["liking"].to_numpy(), part["user"].to_numpy(), Rng(0))
            believed = float(part["believed"].mean())
            rows.append(
                {"judge": name, "n": n, "liking": e.value, "low": e.low, "high": e.high, "believed": believed}
            )
    table = pd.DataFrame(rows)
    print(table.to_string(index=False, float_format=lambda x: f"{x:.2f}"))
    print(*draw(table, options.output), sep="\n")


def draw(table: pd.DataFrame, path: Path) -> list[Path]:
    """True liking by n, a line per judge, and beside it what each believes, as a share of its largest."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 3.8), layout="constrained")
        truth, belief = figure.subplots(1, 2)
        for colour, (judge, part) in zip(COLOURS, table.groupby("judge", sort=False), strict=False):
            truth.plot(part["n"], part["liking"], "o-", color=colour, label=judge, markersize=4)
            truth.fill_between(part["n"], part["low"], part["high"], color=colour, alpha=0.12, linewidth=0)
            belief.plot(
                part["n"], part["believed"] / part["believed"].abs().max(), "o-", color=colour, markersize=4
            )
        truth.axhline(0, color="0.5", linewidth=0.8, linestyle="--")
        truth.set(ylabel="true liking, less the item's own", title="What people get")
        belief.set(ylabel="judge's gain, of its largest", title="What the judge believes")
        for axes in (truth, belief):
            axes.set_xscale("log", base=2)
            axes.set_xticks(NUMBERS, [str(n) for n in NUMBERS])
            axes.set_xlabel("pictures that the best is chosen of")
        figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
        return save(figure, path)


if __name__ == "__main__":
    main()
