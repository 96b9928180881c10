"""Which rankers see taste in pictures of one thing? Boutique, whose tastes are known.

    python tests/benchmarks/judge_table.py truth taste din micro vbpr lattice --image pixels --text words

Of each test episode, the real pictures of all items of the reference's category are put onto the reference by
`substitute`, one at a time. Spearman's rank correlation of score and true liking within an episode, mean over
episodes; the true liking of the favourite; beside them how well each ranks the test split.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.stats import spearmanr
from swap_table import spec_of

import recsim_gen
from recsim_gen.artifacts.trained_rankers import trained_ranker
from recsim_gen.core.protocols import Ranker
from recsim_gen.core.randomness import Rng
from recsim_gen.core.statistics import bootstrap
from recsim_gen.core.types import Catalog
from recsim_gen.datasets.boutique.world import Boutique
from recsim_gen.datasets.opening import open_data
from recsim_gen.encoders.features import encode
from recsim_gen.judging.queries import MODALITY, Triples, ask
from recsim_gen.metrics.evaluation import evaluate

CLIP = f"hf:{Path(recsim_gen.__file__).parent / 'models' / 'boutique' / 'clip'}"


class TrueTaste:
    """The ranker that knows everybody's taste: the ceiling of what can be ranked and judged."""

    name = "truth"

    def __init__(self, world: Boutique) -> None:
        self.world = world

    def score(self, users: np.ndarray) -> torch.Tensor:
        """(B, n) true liking."""
        return torch.from_numpy(self.world.utility(users[:, None], self.world.world.codes))


def judged(rankers: Sequence[Ranker | TrueTaste], world: Boutique, catalog: Catalog) -> dict[str, float]:
    """One line of the table, mean over the seeds of a ranker; of favourites that are tied, the mean.

    Half the width of the 95% interval of Spearman's ρ, and the standard deviation of Recall@20 over seeds.
    """
    references = np.array([e.reference for e in world.episodes])
    users = np.array([e.user for e in world.episodes])
    shown = [np.flatnonzero(catalog.categories == catalog.categories[i]) for i in references]
    which = np.repeat(np.arange(len(users)), [len(rows) for rows in shown])
    rows = np.concatenate(shown)
    questions = Triples(users[which], references[which], rows, catalog.features[MODALITY])
    liking = world.utility(users[which], world.world.codes[rows])
    bounds = np.searchsorted(which, np.arange(len(users) + 1))
    rho, favourite = np.zeros((len(rankers), len(users))), np.zeros((len(rankers), len(users)))
    tests = []
    for seed, ranker in enumerate(rankers):
        known = isinstance(ranker, TrueTaste)
        score = liking if known else ask(ranker, questions, what=ranker.name).score
        for k in range(len(users)):
            mine = slice(bounds[k], bounds[k + 1])
            blind = np.ptp(score[mine]) == 0
            rho[seed, k] = 0 if blind else spearmanr(score[mine], liking[mine]).statistic
            favourite[seed, k] = liking[mine][score[mine] == score[mine].max()].mean()
        tests.append(evaluate(ranker, world.interactions, split="test")[["recall@20", "ndcg@20"]].mean())
    test = pd.concat(tests, axis=1)
    estimate = bootstrap(rho.mean(0), users, Rng(0))
    return {
        "recall@20": float(test.loc["recall@20"].mean()),
        "sd": float(test.loc["recall@20"].std(ddof=0)),
        "ndcg@20": float(test.loc["ndcg@20"].mean()),
        "spearman": float(rho.mean()),
        "±": (estimate.high - estimate.low) / 2,
        "favourite": float(favourite.mean()),
    }


def main() -> None:
    """Train or find each ranker, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("rankers", nargs="+", help="NAME or NAME={settings as JSON}; truth: the tastes")
    parser.add_argument("--image", default="pixels", help="encoder of pictures; clip: the family's")
    parser.add_argument("--text", default="words", help="encoder of texts; clip: the family's; none")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of the rankers' training")
    parser.add_argument("--world", type=int, default=0, help="seed of the shop")
    options = parser.parse_args()
    given = {"image": options.image, "text": options.text}
    encoders = {m: CLIP if spec == "clip" else spec for m, spec in given.items() if spec != "none"}
    world = open_data("boutique", seed=options.world)
    assert isinstance(world, Boutique)
    catalog = encode(world, encoders)
    table = {}
    for text in options.rankers:
        spec = spec_of(text)
        seeds: list[Ranker | TrueTaste] = [TrueTaste(world)]
        if spec.name != TrueTaste.name:
            seeds = [trained_ranker(spec, catalog, world.interactions, seed=s) for s in options.seeds]
        table[spec.name] = judged(seeds, world, catalog)
        print(spec.name, table[spec.name], flush=True)
    print(f"{given}, {len(world.episodes)} episodes, seeds {options.seeds}")
    print(pd.DataFrame(table).T.to_markdown(floatfmt=".4f"))


if __name__ == "__main__":
    main()
