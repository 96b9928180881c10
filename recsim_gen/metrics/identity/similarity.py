"""Compares the order of methods by pairwise similarity with their order by mAP."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

from recsim_gen.core.results import Results
from recsim_gen.metrics.identity.evaluation import OVERALL
from recsim_gen.metrics.identity.queries import REAL

MOST_TOLD = 3  # most pairs of methods to name


def compare_similarity(results: Results, encoder: str) -> None:
    """Add a verdict: for how many pairs of methods the order by similarity differs from that by mAP.

    It also reports each method's similarity to its own identity and to others. Nothing is added without
    methods.
    """
    value = _overall(results, encoder)
    methods = [name for name in value if name != REAL and "similarity" in value[name]]
    if not methods:
        return
    shown = "; ".join(
        f"{name} {value[name]['similarity']:.3f} and {value[name]['similarity_others']:.3f}"
        for name in [*methods, *([REAL] if REAL in value else [])]
    )
    text = f"mean cosine to pictures of its own identity and to others: {shown}"
    if len(methods) > 1:
        text = f"{_orders(methods, value)}. {text[0].upper()}{text[1:]}"
    results.verdict(f"pairwise similarity ({encoder})", text)


def _orders(methods: list[str], value: Mapping[str, Mapping[str, float]]) -> str:
    """Describe the pairs of methods with different orders."""
    pairs = list(combinations(methods, 2))
    turned = []
    for one, two in pairs:
        by_map = value[one]["map"] - value[two]["map"]
        by_similarity = value[one]["similarity"] - value[two]["similarity"]
        if by_map * by_similarity < 0:
            turned.append((one, two) if by_map > 0 else (two, one))
    text = f"it orders {len(turned)} of {len(pairs)} pairs of methods otherwise than mAP"
    details = "; ".join(
        f"{better} finds more than {other} (mAP {value[better]['map']:.3f} to {value[other]['map']:.3f}) and "
        f"is less similar ({value[better]['similarity']:.3f} to {value[other]['similarity']:.3f})"
        for better, other in turned[:MOST_TOLD]
    )
    return f"{text}: {details}" if details else text


def _overall(results: Results, encoder: str) -> dict[str, dict[str, float]]:
    """Return {variant: {metric: value}} of one encoder, over all groups and the whole gallery."""
    value: dict[str, dict[str, float]] = {}
    for row in results.rows:
        if row["encoder"] == encoder and row["group"] == OVERALL and "size" not in row:
            value.setdefault(row["variant"], {})[row["metric"]] = row["value"]
    return value
