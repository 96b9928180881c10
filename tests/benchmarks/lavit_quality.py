"""How much of a picture LaVIT's tokens keep, and how much of a caption its pictures show. Boutique.

    python tests/benchmarks/lavit_quality.py --episodes 300

Trains the embedded LaVIT on the shop's training histories, or finds the one that was, and asks of so many
episodes of a split what the family's reader reads in pictures of the reference: as the shop draws it; through
tokens and back (the ceiling of all that follow); drawn from its caption alone; drawn behind the history's
pictures; and by the diffusion model itself from the caption. Shares of attributes that are the caption's.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from generators.images import image_of, to_pixels
from recsim_gen.artifacts.trained_generators import make_generator, trained_generator
from recsim_gen.artifacts.training_records import peak_memory
from recsim_gen.core.randomness import Rng
from recsim_gen.core.specs import GeneratorSpec
from recsim_gen.core.types import Episode
from recsim_gen.datasets.boutique import world as boutique
from recsim_gen.datasets.episodes import training_episodes
from recsim_gen.models.attribute_reader import ATTRIBUTES
from recsim_gen.models.family import open_family


def asked(shop: boutique.Boutique, split: str, count: int) -> list[Episode]:
    """``count`` choices of a split, spread at random, each behind its user's training choices."""
    users, items = shop.interactions.only(split)
    known: dict[int, list[int]] = {}
    for user, item in zip(*(x.tolist() for x in shop.interactions.only("train")), strict=True):
        known.setdefault(user, []).append(item)
    chosen = Rng(0).for_("asked", split).numpy().permutation(len(users))[:count].tolist()
    return [
        Episode(f"{split}{k}", int(users[k]), shop.people[users[k]], tuple(known[users[k]]), int(items[k]))
        for k in chosen
    ]


def read(shop: boutique.Boutique, episodes: Sequence[Episode], pictures: torch.Tensor) -> dict[str, float]:
    """Share of each attribute that is read in ``pictures`` as the reference has it."""
    codes = open_family().verifier(device="cpu").read(pictures).codes
    truth = shop.world.codes[[e.reference for e in episodes]]
    return dict(zip(ATTRIBUTES, (codes == truth).mean(0).round(3).tolist(), strict=True))


def rows(shop: boutique.Boutique, made: Any, episodes: Sequence[Episode]) -> list[dict[str, Any]]:
    """One of each way to come to a picture, with seconds a picture."""
    catalog, items = shop.catalog, [e.reference for e in episodes]
    plain = make_generator("sd").fit(catalog, (), rng=Rng(0))
    alone = replace(made.config, images=0)

    def from_caption() -> torch.Tensor:
        kept, made.config = made.config, alone
        pictures = made.generate(episodes, rng=Rng(0)).pixels
        made.config = kept
        return pictures

    ways = {
        "as the shop draws it": lambda: torch.stack([to_pixels(image_of(catalog, i)) for i in items]),
        "tokens and back": lambda: torch.stack(made.round_trip(items, Rng(0))),
        "lavit, caption alone": from_caption,
        "lavit, history and caption": lambda: made.generate(episodes, rng=Rng(0)).pixels,
        "sd, caption": lambda: plain.generate(episodes, rng=Rng(0)).pixels,
    }
    table = []
    for name, draw in ways.items():
        start = time.perf_counter()
        pictures = draw()
        seconds = (time.perf_counter() - start) / len(episodes)
        table.append({"picture": name, **read(shop, episodes, pictures), "s a picture": round(seconds, 3)})
    return table


def main() -> None:
    """Print the table, how long the codes are and how many of them occur, and what training took."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--episodes", type=int, default=300)
    parser.add_argument("--split", choices=["valid", "test"], default="test")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="settings of lavit")
    options = parser.parse_args()
    shop = boutique.load()
    known = {setting.name: setting for setting in GeneratorSpec("lavit").known()}
    given = dict(text.split("=", 1) for text in options.set)
    settings = {name: known[name].read(value, name) for name, value in given.items()}
    start = time.perf_counter()
    made: Any = trained_generator(GeneratorSpec("lavit", settings), shop.catalog, training_episodes(shop))
    trained = time.perf_counter() - start
    episodes = asked(shop, options.split, options.episodes)
    print(pd.DataFrame(rows(shop, made, episodes)).to_markdown(index=False))
    codes = [made._codes.of(e.reference) for e in episodes]
    used = np.unique(np.concatenate(codes)).size
    print(f"codes of a picture: {np.mean([len(c) for c in codes]):.1f}; {used} of {made.config.codes} occur")
    print(f"trained or found in {trained:.0f} s; at most {peak_memory():.2f} GiB; {options.split} split")


if __name__ == "__main__":
    main()
