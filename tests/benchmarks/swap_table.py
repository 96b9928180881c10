"""Which rankers tell better from worse among pictures of one thing? The swap test, on any data.

    python tests/benchmarks/swap_table.py taste din micro vbpr --data movielens:DIR

AUC of the chosen item's own picture, and what it has above an item that the user did not choose (gain).
Candidates are of the chosen item's category, drawn at random or near in popularity; where titles give a year,
once more of its decade as well: so era and fame are taken out one by one. With ``--again`` (a folder or tar
of other images of the items, ``<item id>.jpg``; Boutique: ``render``) the images put onto an item, and its
own, are these, so that none is a copy of one in the catalogue. The 95% interval is clustered by person.
Beside it, how well each ranks the test split.
"""

from __future__ import annotations

import argparse
import json
from itertools import product

import numpy as np
import pandas as pd

from recsim_gen.artifacts.trained_rankers import trained_ranker
from recsim_gen.core.randomness import Rng
from recsim_gen.core.specs import RankerSpec
from recsim_gen.core.types import Catalog, Dataset
from recsim_gen.datasets.boutique.drawing import render
from recsim_gen.datasets.films import decades
from recsim_gen.datasets.image_sets import read_images
from recsim_gen.datasets.opening import open_data
from recsim_gen.encoders.features import encode, encode_reader, make_encoder
from recsim_gen.judging.known_world import boutique_of
from recsim_gen.judging.queries import MODALITY
from recsim_gen.judging.swap_test import swap_test, swaps_of
from recsim_gen.judging.variants import has_image
from recsim_gen.metrics.evaluation import evaluate

METRICS = ["recall@20", "ndcg@20"]


def spec_of(text: str) -> RankerSpec:
    """A ranker from ``NAME`` or ``NAME={settings as JSON}``."""
    name, _, settings = text.partition("=")
    return RankerSpec(name, json.loads(settings or "{}"))


def groups_of(catalog: Catalog) -> dict[str, np.ndarray]:
    """What candidates can share with the chosen item: its category, and its decade where titles tell it."""
    groups, decade = {"category": catalog.categories}, decades(catalog.titles)
    if len(np.unique(decade)) > 1:
        groups["category, decade"] = np.char.add(np.char.add(catalog.categories, "/"), decade)
    return groups


def other_images(source: str, dataset: Dataset, catalog: Catalog) -> tuple[np.ndarray, np.ndarray]:
    """Return features (n, d) of another image of each item, and (n,) whether it has one."""
    encoder = catalog.encoder_of(MODALITY)
    features = np.zeros_like(catalog.features[MODALITY])
    if source == "render":
        shop, make = boutique_of(dataset), make_encoder(encoder)
        for row in range(len(catalog)):
            image = render(shop.world.attributes(row), Rng(0).for_("again", row))
            features[row] = make.encode_images([image])
        return features, np.ones(len(catalog), dtype=bool)
    images = read_images(source, dataset)
    features[images.item] = encode_reader(images.reader, encoder)
    return features, np.isin(np.arange(len(catalog)), images.item)


def main() -> None:
    """Train or find each ranker, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("rankers", nargs="+", help="NAME or NAME={settings as JSON}")
    parser.add_argument("--data", default="boutique")
    parser.add_argument("--data-settings", default="{}", type=json.loads, help="as JSON")
    parser.add_argument("--encoders", default="{}", type=json.loads, help="as JSON, default the data's own")
    parser.add_argument("--again", help="other images of the items: folder, tar, or render (Boutique)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of the rankers' training")
    options = parser.parse_args()
    dataset = open_data(options.data, **options.data_settings)
    catalog = encode(dataset, {**dataset.encoders, **options.encoders})
    again, pictured = (
        other_images(options.again, dataset, catalog) if options.again else (None, has_image(catalog))
    )
    tests = {
        f"{name}{', popularity' * popular}": swaps_of(
            dataset, catalog, Rng(0), groups=group, by_popularity=popular, pictured=pictured
        )
        for (name, group), popular in product(groups_of(catalog).items(), (False, True))
    }
    table: dict[str, dict[str, str]] = {}
    for text in options.rankers:
        spec = spec_of(text)
        seeds = [trained_ranker(spec, catalog, dataset.interactions, seed=s) for s in options.seeds]
        ranked = pd.concat([evaluate(one, dataset.interactions)[METRICS].mean() for one in seeds], axis=1)
        line = {metric: f"{ranked.loc[metric].mean():.4f}" for metric in METRICS}
        for test, swaps in tests.items():
            n = swap_test(seeds, swaps, catalog, again).numbers
            line[f"{test}: AUC"] = f"{n['auc']:.3f} [{n['auc_low']:.3f}, {n['auc_high']:.3f}]"
            line[f"{test}: gain"] = f"{n['gain']:+.3f} [{n['gain_low']:+.3f}, {n['gain_high']:+.3f}]"
        table[spec.name] = line
        print(spec.name, line, flush=True)
    choices = {test: len(swaps.items) for test, swaps in tests.items()}
    print(f"{dataset.name}, seeds {options.seeds}, choices {choices}")
    print(pd.DataFrame(table).T.to_markdown(disable_numparse=True))


if __name__ == "__main__":
    main()
