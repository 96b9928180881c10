"""Test judges against known truth: do they prefer pictures that fit a user's true taste? (Boutique)"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from recsim_gen.core.config import run
from recsim_gen.core.options import ExperimentOptions
from recsim_gen.core.specs import RankerSpec

if TYPE_CHECKING:
    import pandas as pd

    from recsim_gen.core.protocols import Ranker
    from recsim_gen.core.results import Results
    from recsim_gen.core.types import Catalog
    from recsim_gen.datasets.boutique.world import Boutique
    from recsim_gen.judging.known_world import KnownImages


@dataclass(frozen=True, kw_only=True)
class Options(ExperimentOptions):
    """Options of known_world.

    Parameters
    ----------
    ranker
        The judges, which are trained here: NAME or NAME:RECIPE.
    draws
        Pictures of each kind per episode.
    scope
        graph: exact, as if the item graph were rebuilt; item: only the item's own features change.
    seeds
        Seeds of the judges' training; the pictures are the same for all.
    """

    ranker: tuple[RankerSpec, ...] = tuple(
        RankerSpec(name) for name in ("micro", "vbpr", "lattice", "bpr", "taste")
    )
    draws: int = 2
    scope: Literal["graph", "item"] = "graph"
    seeds: tuple[int, ...] = (0, 1, 2)
    output: Path = Path("runs/known_world")


def main(options: Options) -> None:
    """Substitute pictures of known utility for each test reference and see whether its rank follows.

    oracle: what the user likes best in the reference's category; opposite: what the user likes least;
    placebo: the same look drawn again; random looks; noise features. "spearman" is the rank correlation, over
    all drawn pictures, between ΔR and the true change of utility. If the oracle does not win, the judge does
    not recognise taste in pictures, and no generator can improve its score. The swap test tests the same
    without the truth. Several processes (accelerate launch -m …, on CPUs torchrun -m …) share the steps of
    training judges, and the triples.
    """
    from recsim_gen.artifacts.trained_rankers import log_data, prepare, trained_rankers
    from recsim_gen.core.processes import this_process, working_together
    from recsim_gen.core.progress import quietly
    from recsim_gen.core.randomness import Rng
    from recsim_gen.core.report import report
    from recsim_gen.core.tracking import Tracker
    from recsim_gen.judging.guards import add_guard
    from recsim_gen.judging.known_world import boutique_of
    from recsim_gen.judging.swap_test import swap_test, swaps_of

    process = this_process()
    with process.main_process_first():  # the others find what it has encoded
        dataset, catalog, results = prepare("known_world", options)
    images = _images(boutique_of(dataset), catalog, options)
    swaps = swaps_of(dataset, catalog, Rng(0))
    tracking = Tracker.of("known_world", options) if process.is_main_process else nullcontext()
    with tracking as tracker:
        if tracker is not None:
            log_data(tracker, dataset)
        with working_together(), quietly(not process.is_main_process):
            for spec in options.ranker:
                rankers = trained_rankers(
                    spec, catalog, dataset.interactions, seeds=options.seeds, device=options.place
                )
                _judge(spec, rankers, images, options, results)
                swapped = swap_test([*rankers.values()], swaps, catalog)
                add_guard(swapped, spec.name, results, variant="swapped")
        if tracker is not None:
            report(results, tracker, options.output)


def _images(dataset: Boutique, catalog: Catalog, options: Options) -> dict[str, KnownImages]:
    """Return every kind of picture with features, and noise features."""
    from dataclasses import replace

    import numpy as np

    from recsim_gen.core.randomness import Rng
    from recsim_gen.encoders.features import make_encoder
    from recsim_gen.judging.controls import noise_features
    from recsim_gen.judging.known_world import DRAWN, draw_images

    encoder = make_encoder(catalog.encoder_of("image"), options.place)
    images = {kind: draw_images(dataset, kind, encoder, Rng(0), draws=options.draws) for kind in DRAWN}
    x = catalog.features["image"]
    noise = noise_features(x, np.ones(len(x), dtype=bool), Rng(0))
    placebo = images["placebo"]
    unknown = np.full(len(placebo.items), np.nan)
    return {**images, "noise": replace(placebo, features=noise[placebo.items], utility=unknown)}


def _judge(
    spec: RankerSpec,
    rankers: Mapping[int, Ranker],
    images: Mapping[str, KnownImages],
    options: Options,
    results: Results,
) -> None:
    """Add ΔR and other measures of every kind by one judge, averaged over its seeds, and Spearman's ρ."""
    import numpy as np
    import pandas as pd

    from recsim_gen.core.randomness import Rng
    from recsim_gen.judging.queries import Triples, ask
    from recsim_gen.metrics.delta_rank import per_sample, summarise

    tables = []
    for seed, ranker in rankers.items():
        results.fingerprints[f"{spec} seed {seed}"] = ranker.fingerprint
        for kind, shown in images.items():
            triples = Triples(shown.users, shown.items, np.arange(len(shown.users)), shown.features)
            answer = ask(ranker, triples, scope=options.scope, what=f"{spec}, seed {seed}: {kind}")
            table = per_sample(answer)
            tables.append(table.assign(kind=kind, seed=seed, user=shown.users, utility=shown.utility))
    table = pd.concat(tables)
    for kind in images:
        mine = table[table["kind"] == kind]
        people, trainings = mine["user"].to_numpy(), mine["seed"].to_numpy()
        for metric, e in summarise(mine, people, Rng(0), trainings=trainings).items():
            results.row(
                variant=kind,
                metric=metric,
                value=e.value,
                low=e.low,
                high=e.high,
                n=e.n,
                judge=spec.name,
                scope=options.scope,
            )
    _correlate(spec, table, options, results)


def _correlate(spec: RankerSpec, table: pd.DataFrame, options: Options, results: Results) -> None:
    """Add Spearman's ρ between ΔR and the change of utility over all pictures except noise, per seed."""
    from scipy.stats import spearmanr

    drawn = table[table["utility"].notna()]
    for seed in options.seeds:
        rows = drawn[drawn["seed"] == seed]
        if rows["delta_r"].nunique() < 2:  # a blind judge: nothing to correlate
            continue
        rho = spearmanr(rows["delta_r"], rows["utility"]).statistic
        results.row(
            variant="all drawn",
            metric="spearman",
            value=float(rho),
            seed=seed,
            n=len(rows),
            judge=spec.name,
            scope=options.scope,
        )


if __name__ == "__main__":
    raise SystemExit(run(main, shared=True))
