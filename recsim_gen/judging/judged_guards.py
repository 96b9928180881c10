"""Applies the guards to the answers of the judges and to the images themselves.

Each guard comes with the name of the judge that it is about, None if it is about the images.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from recsim_gen.core.randomness import Rng
from recsim_gen.core.types import Scope
from recsim_gen.encoders.features import encode_reader
from recsim_gen.judging import guards
from recsim_gen.judging.guards import Guard
from recsim_gen.judging.judges import Judge
from recsim_gen.judging.neighbourhood import Neighbourhood
from recsim_gen.judging.queries import MODALITY, Triples, ask
from recsim_gen.judging.swap_test import swap_test, swaps_of
from recsim_gen.judging.variants import has_image
from recsim_gen.judging.views import View
from recsim_gen.metrics.copies import THUMBNAILS, CopyFinder

if TYPE_CHECKING:
    import pandas as pd

    from recsim_gen.core.types import Catalog, Dataset
    from recsim_gen.datasets.image_sets import ImageSet

CONTROLS = ("placebo", "noise", "shuffled")

NamedGuard = tuple[str | None, Guard]


def control_guards(samples: pd.DataFrame) -> list[NamedGuard]:
    """Return identity, placebo, noise and shuffled for each judge, and the agreement of the judges."""
    named_guards: list[NamedGuard] = []
    for judge_name, mine in samples.groupby("judge", sort=False):
        of = {
            variant: part.set_index(["label", "triple"])
            for variant, part in mine.groupby("variant", sort=False)
        }
        own = of["own"]
        identity = guards.identity(own["delta_r"].to_numpy(), own["delta_score"].to_numpy())
        named_guards.append((str(judge_name), identity))
        for name in (c for c in CONTROLS if c in of):
            control = of[name]
            same = of["images"].loc[control.index]
            people, label = control["person"].to_numpy(), control.index.get_level_values("label").to_numpy()
            ours, theirs = (part["delta_r"].to_numpy() for part in (same, control))
            guard = guards.against(name, ours, theirs, people, Rng(0), trainings=label)
            named_guards.append((str(judge_name), guard))
    images = samples[samples["variant"] == "images"].groupby("label", sort=False)
    values = {str(label): part["delta_r"].to_numpy() for label, part in images}
    blind = {str(label): not part["touched"].any() for label, part in images}
    return [*named_guards, (None, guards.held_out(values, blind))]


def headroom(view: View, scope: Scope, candidates: int, pairs: int) -> Iterable[NamedGuard]:
    """Return the headroom of the first seed of each judge: a sample of pairs with the same random images."""
    if not pairs:
        return
    triples, catalog = view.triples, view.catalog
    at = Rng(0).for_("headroom", "pairs").numpy().permutation(len(triples))[:pairs]
    order = Rng(0).for_("headroom", "candidates").numpy().permutation(np.flatnonzero(has_image(catalog)))
    rows = order[:candidates]
    width = len(rows)
    users, items = (np.repeat(a[at], width) for a in (triples.users, triples.items))
    tried = Triples(users, items, np.tile(rows, len(at)), catalog.features[MODALITY])
    for one in _first_seeds(view.judges):
        answer = ask(one.ranker, tried, scope=scope, what=f"{one.label}: headroom")
        yield one.name, guards.headroom(answer.original_rank[::width], answer.rank.reshape(-1, width))


def swap_tests(view: View, dataset: Dataset, choices: int) -> Iterable[NamedGuard]:
    """Return the swap test of each judge, all its seeds together, on the same test choices."""
    if not choices or not (dataset.interactions.split == "test").any():
        return
    swaps = swaps_of(dataset, view.catalog, Rng(0), most=choices)
    for one in _first_seeds(view.judges):
        rankers = [other.ranker for other in view.judges if other.name == one.name]
        yield one.name, swap_test(rankers, swaps, view.catalog)


def _first_seeds(judges: Sequence[Judge]) -> list[Judge]:
    """Return the first judge of each name."""
    first: dict[str, Judge] = {}
    for one in judges:
        first.setdefault(one.name, one)
    return list(first.values())


def feature_guards(view: View, name: str | None) -> list[NamedGuard]:
    """Return distance and hubs, which depend on the features only; lists are as long as the first judge's."""
    x, present = view.catalog.features[MODALITY], has_image(view.catalog)
    near = Neighbourhood.of(x, present, getattr(view.judges[0].ranker.config, "knn_k", 10) - 1)
    looked_up = {}
    for variant, draws in view.variants.items():
        _, t = draws[0]
        once = np.unique(np.stack([t.which, t.items]), axis=1)
        looked_up[variant] = near.look_up(t.features[once[0]], once[1])
    distances, lists = ({v: pair[i] for v, pair in looked_up.items()} for i in (0, 1))
    return [(name, guards.distance(distances, near)), (name, guards.hubs(lists, near))]


def copies_among(images: ImageSet, catalog: Catalog) -> list[NamedGuard]:
    """Return how many images are copies of the catalogue's; nothing if the catalogue has no images."""
    finder = None if catalog.images is None else CopyFinder.of(catalog.images)
    if finder is None:
        return []
    copies = finder.find(encode_reader(images.reader, THUMBNAILS), images.item)
    return [(None, guards.copies(copies, finder))]
