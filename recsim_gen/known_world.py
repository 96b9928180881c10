"""Ask judges what is known: do they prefer pictures of a user's true taste? (Boutique)"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from recsim_gen.core.config import run

if TYPE_CHECKING:
    import pandas as pd

    from recsim_gen.core.protocols import Ranker
    from recsim_gen.core.results import Results
    from recsim_gen.core.types import Catalog
    from recsim_gen.datasets.boutique.world import Boutique


def main(
    data: str = "boutique",
    data_settings: dict[str, Any] | None = None,
    encoders: dict[str, str] | None = None,
    ranker: tuple[str, ...] = ("micro", "vbpr", "lattice", "bpr"),
    settings: dict[str, Any] | None = None,
    draws: int = 2,
    scope: Literal["graph", "item"] = "graph",
    seeds: tuple[int, ...] = (0, 1, 2),
    output: Path = Path("runs/known_world"),
    tracking_uri: str | None = None,
    device: str = "cpu",
    quiet: bool = False,
) -> None:
    """Substitute pictures of known worth for each test reference and see whether its rank follows.

    oracle: what the user likes best in the reference's category; opposite: what the user likes
    least; placebo: the same look drawn again; random looks; noise features. "spearman" is the rank
    correlation, over all drawn pictures, between ΔR and the true change of utility. If the oracle
    does not win, the judge does not see taste in pictures, and no generator can please it.

    Parameters
    ----------
    data
        A data set whose tastes are known: boutique.
    data_settings
        Settings of the loader: --data-settings.seed 1.
    encoders
        Encoder of each modality, default the data's own: --encoders.image pixels.
    ranker
        The judges: NAME or NAME:RECIPE.
    settings
        Settings of all of them: --settings.epochs 50.
    draws
        Pictures of each kind per episode.
    scope
        graph: as if the item graph were built again; item: the item's own row only.
    seeds
        Seeds of the judges' training; the pictures are the same for all.
    output
        Folder for results.json.
    tracking_uri
        MLflow store; default MLFLOW_TRACKING_URI, else mlflow.db beside the output folder.
    device
        Where the judges run: cpu, cuda.
    quiet
        Print the table and the paths only.
    """
    config = dict(locals())
    from recsim_gen.artifacts.trained_rankers import log_data, make_ranker, prepare, trained_rankers
    from recsim_gen.core.report import report
    from recsim_gen.core.tracking import Tracker
    from recsim_gen.judging.known_world import boutique_of

    for spec in ranker:
        make_ranker(spec, settings)
    dataset, catalog, results = prepare("known_world", config)
    pictures = _pictures(boutique_of(dataset), catalog, config)
    with Tracker("known_world", config, output=output, uri=tracking_uri) as tracker:
        log_data(tracker, dataset)
        for spec in ranker:
            how: dict[str, Any] = {"seeds": seeds, "device": device}
            judges = trained_rankers(spec, settings, catalog, dataset.interactions, **how)
            _judge(spec, judges, pictures, config, results)
        report(results, tracker, output)


def _pictures(dataset: Boutique, catalog: Catalog, config: dict[str, Any]) -> dict[str, Any]:
    """Every kind of picture with features, and noise features beside them."""
    from dataclasses import replace

    import numpy as np

    from recsim_gen.artifacts.trained_rankers import chosen_encoders
    from recsim_gen.core.randomness import Rng
    from recsim_gen.encoders.features import make_encoder
    from recsim_gen.judging.controls import noise_features
    from recsim_gen.judging.known_world import DRAWN, draw_pictures

    encoder = make_encoder(chosen_encoders(dataset, config)["image"], config["device"])
    found = {kind: draw_pictures(dataset, kind, encoder, Rng(0), draws=config["draws"]) for kind in DRAWN}
    x = catalog.features["image"]
    noise = noise_features(x, np.ones(len(x), dtype=bool), Rng(0))
    placebo = found["placebo"]
    unknown = np.full(len(placebo.items), np.nan)
    return {**found, "noise": replace(placebo, features=noise[placebo.items], utility=unknown)}


def _judge(
    spec: str, judges: dict[int, Ranker], pictures: dict[str, Any], config: dict[str, Any], results: Results
) -> None:
    """ΔR and the like of every kind by one sort of judge, averaged over its seeds, and Spearman's ρ."""
    import numpy as np
    import pandas as pd

    from recsim_gen.core.randomness import Rng
    from recsim_gen.judging.queries import Triples, ask
    from recsim_gen.metrics.delta_rank import METRICS, per_sample, summarise

    tables = []
    for seed, judge in judges.items():
        results.fingerprints[f"{spec} seed {seed}"] = judge.fingerprint
        for kind, shown in pictures.items():
            asked = Triples(shown.users, shown.items, np.arange(len(shown.users)), shown.features)
            answer = ask(judge, asked, scope=config["scope"], what=f"{spec}, seed {seed}: {kind}")
            about = {"kind": kind, "seed": seed, "user": shown.users, "utility": shown.utility}
            tables.append(per_sample(answer).assign(**about))
    table = pd.concat(tables)
    for kind in pictures:
        by_picture = table[table["kind"] == kind].groupby(level=0)
        wide = by_picture.agg({"user": "first", **dict.fromkeys(METRICS, "mean")})
        for metric, e in summarise(wide, wide["user"].to_numpy(), Rng(0)).items():
            more: dict[str, Any] = {"low": e.low, "high": e.high, "judge": spec, "scope": config["scope"]}
            results.row(variant=kind, metric=metric, value=e.value, n=e.n, **more)
    _correlate(spec, table, config, results)


def _correlate(spec: str, table: pd.DataFrame, config: dict[str, Any], results: Results) -> None:
    """Spearman's ρ between ΔR and the change of utility over all pictures but noise, per seed."""
    from scipy.stats import spearmanr

    drawn = table[table["utility"].notna()]
    for seed in config["seeds"]:
        rows = drawn[drawn["seed"] == seed]
        if rows["delta_r"].nunique() < 2:  # a blind judge: nothing to correlate
            continue
        rho = spearmanr(rows["delta_r"], rows["utility"]).statistic
        more = {"judge": spec, "scope": config["scope"]}
        results.row(variant="all drawn", metric="spearman", value=float(rho), seed=seed, n=len(rows), **more)


if __name__ == "__main__":
    raise SystemExit(run(main))
