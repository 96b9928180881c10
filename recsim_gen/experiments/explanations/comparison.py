"""Comparison of explainers: all rows of the table, their metrics, and tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import pandas as pd

from recsim_gen.core.progress import say
from recsim_gen.core.randomness import Rng
from recsim_gen.experiments.explanations import controls
from recsim_gen.metrics import summary
from recsim_gen.metrics.explanations import features, texts

if TYPE_CHECKING:
    from recsim_gen.core.protocols import Explainer
    from recsim_gen.core.results import Results
    from recsim_gen.core.types import Episode, Explanation
    from recsim_gen.experiments.explanations.shop import Shop
    from recsim_gen.experiments.explanations.truth import TrueReasons

TRUTH = {"fmr": "higher", "precision": "higher", "recall": "higher"}
"""Metrics of each reason that need known preferences, and whether higher is better."""

ROWS = {**TRUTH, "explained": "higher", "grounded": "higher", "rouge_l": "higher"}
"""Metrics of single explanations."""

SETS = {"usr": "higher", "fcr": "higher", "div": "lower", "bleu_1": "higher", "bleu_4": "higher"}
"""Metrics of all explanations of a row together."""

METRICS = (*TRUTH, "explained", "grounded", "usr", "fcr", "div", "bleu_1", "bleu_4", "rouge_l")
"""All metrics in the order of the table."""

CONTROLS = ("popular", "first", "random")
ORACLE = "oracle"


@dataclass(frozen=True)
class Line:
    """A row of the table for one seed, with its explanations; ``role`` is method, control or truth."""

    variant: str
    role: str
    seed: int
    said: list[Explanation]


def lines(
    methods: Mapping[str, Explainer],
    shop: Shop,
    episodes: Sequence[Episode],
    seeds: Sequence[int],
    truth: TrueReasons | None,
) -> Iterator[Line]:
    """Yield each method, the same method with another person's history, and the controls.

    Random lines are repeated with every seed; all others exist for the first seed only.
    """
    first = seeds[0]
    for name, explainer in methods.items():
        say(f"explaining by {name}")
        yield Line(name, "method", first, explainer.explain(episodes))
    for name, explainer in methods.items():
        for seed in seeds:
            others = controls.with_others_histories(episodes, Rng(seed))
            yield Line(f"{name}_{controls.SHUFFLED}", "control", seed, explainer.explain(others))
    yield Line("popular", "control", first, controls.popular_reasons(shop, episodes))
    yield Line("first", "control", first, controls.first_reasons(shop, episodes))
    for seed in seeds:
        yield Line("random", "control", seed, controls.random_reasons(shop, episodes, Rng(seed)))
    if truth is not None:
        yield Line(ORACLE, "truth", first, controls.true_reasons(shop, episodes, truth))


def measured(line: Line, shop: Shop, episodes: Sequence[Episode], truth: TrueReasons | None) -> pd.DataFrame:
    """Return one row per explanation of a line: its texts and its metrics, NaN where undefined.

    Metrics of sets are repeated in all rows; those that need known preferences are missing if these are
    unknown.
    """
    catalog, references = shop.dataset.catalog, [e.reference for e in episodes]
    named = [set(said.named) for said in line.said]
    own = [{word.lower() for word in shop.items.lists[row]} for row in references]
    captions = [said.caption for said in line.said]
    item_texts = [shop.text(row) for row in references]
    table: dict[str, Any] = {
        "variant": line.variant,
        "seed": line.seed,
        "episode": [e.id for e in episodes],
        "person": [e.source_user for e in episodes],
        "item": [str(catalog.item_ids[row]) for row in references],
        "named": [", ".join(said.named) for said in line.said],
        "caption": captions,
        "reason": [said.reason for said in line.said],
        "explained": [float(bool(words)) for words in named],
        "grounded": features.precision(named, own),
        "rouge_l": texts.rouge_l(captions, item_texts),
        "usr": features.unique_sentence_ratio([said.reason for said in line.said]),
        "fcr": features.feature_coverage_ratio(named, shop.vocabulary),
        "div": features.feature_diversity(named),
        "bleu_1": texts.bleu(captions, item_texts, words=1),
        "bleu_4": texts.bleu(captions, item_texts),
    }
    if truth is not None:
        right = [truth.favourites(e) for e in episodes]
        table["fmr"] = features.feature_matching(named, [truth.reason(e) for e in episodes])
        table["precision"] = features.precision(named, right)
        table["recall"] = features.recall(named, right)
    return pd.DataFrame(table)


def conclude(
    values: pd.DataFrame, roles: Mapping[str, str], baseline: str, truth: TrueReasons | None, results: Results
) -> None:
    """Add rows of all metrics, differences from the baseline and from another person's reason, and verdicts.

    ``values`` are the rows of all lines, ``roles`` {variant: role}. A metric has a row without value if it
    needs unknown preferences, or is undefined for a line.
    """
    measures = {name: better for name, better in ROWS.items() if truth is not None or name not in TRUTH}
    of_variant: dict[str, dict[str, Any]] = {variant: {"role": role} for variant, role in roles.items()}
    about = {name: {"better": better} for name, better in {**measures, **SETS}.items()}
    summary.add_rows(values, {name: about[name] for name in measures}, of_variant, results, Rng(0))
    summary.add_set_rows(values, {name: about[name] for name in SETS}, of_variant, results)
    has = {(row["variant"], row["metric"]) for row in results.rows}
    for variant, name in product(roles, ROWS):
        if (variant, name) not in has:
            why = "names nothing" if name in measures else "needs known tastes (--data boutique)"
            more = {**of_variant[variant], "better": ROWS[name], "reason": why}
            results.row(variant=variant, metric=name, value=None, n=0, **more)
    better = {name: direction == "higher" for name, direction in measures.items()}
    others = {v: f"{v}_{controls.SHUFFLED}" for v, role in roles.items() if role == "method"}
    for method, other in others.items():
        pair = values[values["variant"].isin([method, other])]
        comparisons = summary.compared(pair, list(measures), other, Rng(0))
        summary.add_comparisons(comparisons, other, better, of_variant, results)
    rest = values[~values["variant"].isin(list(others.values()))]
    comparisons = summary.compared(rest, list(measures), baseline, Rng(0))
    summary.add_comparisons(comparisons, baseline, better, of_variant, results)
