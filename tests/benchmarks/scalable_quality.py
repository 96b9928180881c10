"""Is MICRO as good as trains at a million items? On validation, against exact neighbours and more steps.

    python tests/benchmarks/scalable_quality.py boutique movielens:DIR

``exact``: all neighbours by the exact search, 1,024 choices a step, all users in a validation. ``scalable``:
neighbours by an index, 32 steps an epoch, half of the users in a validation. Recall@20 of the kept weights is
that of all users of the validation split in both. Differences are paired by seed, with a 95% interval of t;
beside them, the standard deviation of the exact way between seeds.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t

from rankers.configs import STEPS
from rankers.learned_ranker import LearnedRanker
from rankers.training.validation import Validation
from recsim_gen.artifacts.trained_rankers import make_ranker
from recsim_gen.core.processes import Team
from recsim_gen.core.randomness import Rng
from recsim_gen.core.specs import RankerSpec
from recsim_gen.core.types import Catalog, Interactions
from recsim_gen.datasets.opening import open_data
from recsim_gen.encoders.features import encode

METRIC = "recall@20"


def ways(interactions: Interactions) -> dict[str, dict[str, Any]]:
    """Settings of both."""
    users = len(np.unique(interactions.only("valid")[0]))
    steps = {"train_batch_size": -(-len(interactions.only("train")[0]) // STEPS)}
    return {
        "exact": {"approximate_from": 0, "train_batch_size": 1024, "valid_users": 0},
        "scalable": {"approximate_from": 1, "valid_users": users // 2, **steps},
    }


def trained(catalog: Catalog, interactions: Interactions, settings: dict[str, Any], seed: int) -> float:
    """Recall@20 of all users of the validation split."""
    ranker = make_ranker(RankerSpec("micro", settings))
    assert isinstance(ranker, LearnedRanker)
    ranker.fit(catalog, interactions, rng=Rng(seed))
    return Validation(interactions, 0, ranker.model.device)(ranker.model, Team())[METRIC]


def main() -> None:
    """Print a line for each data set."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="+")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    options = parser.parse_args()
    rows = []
    for name in options.data:
        dataset = open_data(name)
        catalog, interactions = encode(dataset, dataset.encoders), dataset.interactions
        found = {
            way: np.array([trained(catalog, interactions, settings, seed) for seed in options.seeds])
            for way, settings in ways(interactions).items()
        }
        gain, n = found["scalable"] - found["exact"], len(options.seeds)
        mean, half = gain.mean(), t.ppf(0.975, n - 1) * gain.std(ddof=1) / n**0.5
        rows.append(
            {
                "data": dataset.name,
                **{way: f"{values.mean():.4f}" for way, values in found.items()},
                "paired difference": f"{mean:+.4f} [{mean - half:+.4f}, {mean + half:+.4f}]",
                "sd of exact": f"{found['exact'].std(ddof=1):.4f}",
                "each seed": " ".join(f"{x:+.4f}" for x in gain),
            }
        )
        print(pd.DataFrame(rows[-1:]).to_markdown(index=False), flush=True)
    print(pd.DataFrame(rows).to_markdown(index=False))


if __name__ == "__main__":
    main()
