"""Which rankers see taste in pictures of one thing? Boutique, whose tastes are known.

    python tests/benchmarks/judge_table.py taste micro vbpr lattice --image pixels --text words

Of each test episode, the real pictures of all items of the reference's category are put onto the reference by
`substitute`, one at a time. Spearman's rank correlation of score and true liking within an episode, mean over
episodes; the true liking of the favourite; beside them how well each ranks the test split.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

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


def judged(ranker: Ranker, world: Boutique, catalog: Catalog) -> dict[str, float]:
    """One line of the table, with the half width of the 95% interval of Spearman's ρ."""
    references = np.array([e.reference for e in world.episodes])
    users = np.array([e.user for e in world.episodes])
    shown = [np.flatnonzero(catalog.categories == catalog.categories[i]) for i in references]
    which = np.repeat(np.arange(len(users)), [len(rows) for rows in shown])
    rows = np.concatenate(shown)
    questions = Triples(users[which], references[which], rows, catalog.features[MODALITY])
    score = ask(ranker, questions, what=ranker.name).score
    liking = world.utility(users[which], world.world.codes[rows])
    rho, favourite = np.zeros(len(users)), np.zeros(len(users))
    for k in range(len(users)):
        mine = which == k
        rho[k] = spearmanr(score[mine], liking[mine]).statistic
        favourite[k] = liking[mine][score[mine].argmax()]
    test = evaluate(ranker, world.interactions, split="test")
    estimate = bootstrap(rho, users, Rng(0))
    return {
        "recall@20": float(test["recall@20"].mean()),
        "ndcg@20": float(test["ndcg@20"].mean()),
        "spearman": float(rho.mean()),
        "±": (estimate.high - estimate.low) / 2,
        "favourite": float(favourite.mean()),
    }


def main() -> None:
    """Train or find each ranker, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("rankers", nargs="+")
    parser.add_argument("--image", default="pixels", help="encoder of pictures; clip: the family's")
    parser.add_argument("--text", default="words", help="encoder of texts; clip: the family's; none")
    parser.add_argument("--seed", type=int, default=0, help="of the rankers' training")
    parser.add_argument("--world", type=int, default=0, help="seed of the shop")
    options = parser.parse_args()
    given = {"image": options.image, "text": options.text}
    encoders = {m: CLIP if spec == "clip" else spec for m, spec in given.items() if spec != "none"}
    world = open_data("boutique", seed=options.world)
    assert isinstance(world, Boutique)
    catalog = encode(world, encoders)
    table = {
        name: judged(trained_ranker(name, catalog, world.interactions, seed=options.seed), world, catalog)
        for name in options.rankers
    }
    print(f"{given}, {len(world.episodes)} episodes")
    print(pd.DataFrame(table).T.to_markdown(floatfmt=".4f"))


if __name__ == "__main__":
    main()
