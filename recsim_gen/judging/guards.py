"""Guards: checks that a ΔR must pass before it is trusted; each returns numbers, a verdict and a sentence.

A ranker can raise an item for an image that no person would like: random noise may raise it too, an item may
have no room to move, or the image may lie outside the catalogue. Each function tests for one such failure.
`modality_use` has a module of its own, because it trains rankers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from recsim_gen.core.errors import DataError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.statistics import bootstrap
from recsim_gen.metrics.delta_rank import delta_r

if TYPE_CHECKING:
    from recsim_gen.core.results import Results
    from recsim_gen.judging.neighbourhood import Neighbourhood
    from recsim_gen.metrics.copies import Copies, CopyFinder

FAR = 0.99  # percentile of the catalogue's own distances above which a feature counts as far
FAR_SHARE = 0.05  # share of far images above which the set counts as outside the catalogue
HUB = 0.99  # percentile of the catalogue's in-degrees above which a feature counts as a hub


@dataclass(frozen=True)
class Guard:
    """Result of one guard.

    Parameters
    ----------
    name
        Name of the guard.
    verdict
        One or two words.
    numbers
        {name: value} behind the verdict.
    sentence
        Verdict and numbers in a sentence.
    """

    name: str
    verdict: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    sentence: str = ""


def add_guard(guard: Guard, judge: str | None, results: Results, *, variant: str) -> None:
    """Add the guard's verdict to the results, and its numbers as rows of ``variant``.

    ``judge`` is the judge that the guard is about, None if it is about the images.
    """
    about = f" ({judge})" if judge else ""
    results.verdict(f"{guard.name}{about}", f"{guard.verdict}: {guard.sentence}")
    of_judge: dict[str, Any] = {"judge": judge} if judge else {}
    name = guard.name.replace(" ", "_").replace("-", "_")
    for number, value in guard.numbers.items():
        results.row(variant=variant, metric=f"{name}_{number}", value=value, **of_judge)


def identity(own: np.ndarray, delta_score: np.ndarray) -> Guard:
    """Check that an item's own feature gives ΔR = 0 exactly.

    Parameters
    ----------
    own
        (B,) ΔR with the item's own feature.
    delta_score
        (B,) change of the score with it.

    Returns
    -------
    Guard
        Verdict ``holds`` or ``fails``.

    Raises
    ------
    DataError
        If there are no pairs.
    """
    _refuse_empty(own)
    worst, score = float(np.abs(own).max()), float(np.abs(delta_score).max())
    holds = worst == 0
    numbers = {"n": len(own), "largest_delta_r": worst, "largest_delta_score": score}
    text = f"own image: ΔR is {'exactly 0' if holds else f'up to {worst:.3g}'} for {len(own):,} pairs"
    return Guard("identity", "holds" if holds else "fails", numbers, text)


def against(
    name: str,
    images: np.ndarray,
    control: np.ndarray,
    people: np.ndarray,
    rng: Rng,
    *,
    trainings: np.ndarray | None = None,
) -> Guard:
    """Compare the ΔR of images with that of a control, pair by pair.

    The control's ΔR is the effect of an arbitrary other image: the null distribution.

    Parameters
    ----------
    name
        Name of the control: ``placebo``, ``noise`` or ``shuffled``.
    images, control
        (B,) ΔR of the images and of the control.
    people
        (B,) person behind each pair; people are resampled as clusters.
    rng
        Source of the resampling.
    trainings
        (B,) training of the judge behind each pair; several trainings are resampled too.

    Returns
    -------
    Guard
        Verdict ``above``, ``below`` or ``not told apart``, by the 95% interval of the mean difference and the
        signs of the trainings; ``unknown`` with one person.

    Raises
    ------
    DataError
        If there are no pairs or the shapes differ.
    """
    images, control = np.asarray(images, dtype=float), np.asarray(control, dtype=float)
    _refuse_empty(images)
    if images.shape != control.shape:
        raise DataError(f"images and {name} must be (B,) alike, got {images.shape} and {control.shape}")
    e = bootstrap(images - control, people, rng, trainings=trainings)
    sign = e.decided(0.0 if e.low > 0 or e.high < 0 else 1.0)
    verdict = "unknown" if np.isnan(e.low) else {1: "above", -1: "below", 0: "not told apart"}[sign]
    numbers = {
        "n": e.n,
        "mean": float(control.mean()),
        "sd": float(control.std()),
        "median": float(np.median(control)),
        "difference": e.value,
        "difference_low": e.low,
        "difference_high": e.high,
        "share_above": float((images > control).mean() + (images == control).mean() / 2),
    }
    by_seed = f" (by seed {e.signs})" if e.signs else ""
    text = (
        f"ΔR of {name}: mean {control.mean():+.3f}, median {np.median(control):+.3f}, "
        f"sd {control.std():.3f}; "
        f"images − {name} {e.value:+.3f} [{e.low:+.3f}, {e.high:+.3f}]{by_seed}, "
        f"above it in {numbers['share_above']:.0%} of {e.n:,} pairs"
    )
    return Guard(name, verdict, numbers, text)


def headroom(original: np.ndarray, attainable: np.ndarray) -> Guard:
    """Measure how far each pair could have moved.

    A pair that no candidate moves "cannot move", which differs from "did not move".

    Parameters
    ----------
    original
        (B,) ranks with the item's own image.
    attainable
        (B, C) ranks with C candidate images.

    Returns
    -------
    Guard
        Verdict ``none`` if no pair can move, ``little`` if most cannot, else ``room``.

    Raises
    ------
    DataError
        If there are no pairs or the shapes do not fit.
    """
    original, attainable = np.asarray(original, dtype=float), np.asarray(attainable, dtype=float)
    _refuse_empty(original)
    if attainable.ndim != 2 or len(attainable) != len(original) or attainable.shape[1] == 0:
        raise DataError(f"ranks must be (B,) and (B, C), got {original.shape} and {attainable.shape}")
    best, worst = attainable.min(1), attainable.max(1)
    still = float(((best == original) & (worst == original)).mean())
    up, down = delta_r(original, best), delta_r(original, worst)
    numbers = {
        "n": len(original),
        "candidates": attainable.shape[1],
        "cannot_move": still,
        "cannot_rise": float((best >= original).mean()),
        "best_rank": float(np.median(best)),
        "original_rank": float(np.median(original)),
        "worst_rank": float(np.median(worst)),
        "best_delta_r": float(up.mean()),
        "worst_delta_r": float(down.mean()),
    }
    text = (
        f"{still:.0%} of {len(original):,} pairs cannot move with {attainable.shape[1]} catalogue pictures; "
        f"median rank {np.median(original):.0f}, attainable {np.median(best):.0f}–{np.median(worst):.0f}; "
        f"mean ΔR of the best picture {up.mean():+.3f}, of the worst {down.mean():+.3f}"
    )
    return Guard("headroom", "none" if still == 1 else "little" if still > 0.5 else "room", numbers, text)


def held_out(values: Mapping[str, np.ndarray], blind: Mapping[str, bool]) -> Guard:
    """Check that several judges agree on the same images.

    A judge with another seed, encoder or model that did not give the reward should agree with the one that
    did. A judge that is ``blind`` to images must give exactly 0.

    Parameters
    ----------
    values
        {judge: (B,) ΔR}; the first is the judge that gave the reward.
    blind
        {judge: whether it ignores images}.

    Returns
    -------
    Guard
        Verdict ``agree`` if all judges that see images have means of the same sign, ``disagree`` if not,
        ``missing`` if fewer than two see images, ``fails`` if a blind one gives a ΔR other than 0.
    """
    from scipy.stats import spearmanr

    see = [judge for judge in values if not blind[judge]]
    moved = [judge for judge in values if blind[judge] and np.any(values[judge])]
    mean = {judge: float(np.mean(values[judge])) for judge in values}
    numbers = {f"{judge}_mean": mean[judge] for judge in values}
    parts = [f"{judge} {mean[judge]:+.3f}" for judge in see]
    for place, judge in enumerate(see[1:], 1):
        first, other = values[see[0]], values[judge]
        varied = len(np.unique(first)) > 1 and len(np.unique(other)) > 1
        numbers[f"{judge}_spearman"] = rho = float(spearmanr(first, other)[0]) if varied else float("nan")
        parts[place] += f" (Spearman with {see[0]} {rho:.2f})"
    parts += [
        f"{judge}, blind to images, {'NOT 0' if judge in moved else 'exactly 0'}"
        for judge in values
        if blind[judge]
    ]
    signs = {np.sign(mean[judge]) for judge in see}
    verdict = "fails" if moved else "missing" if len(see) < 2 else "agree" if len(signs) == 1 else "disagree"
    hint = "; give another of --judges (seed, encoder or model)" if verdict == "missing" else ""
    return Guard("held-out judges", verdict, numbers, "mean ΔR of images: " + ", ".join(parts) + hint)


def distance(distances: Mapping[str, np.ndarray], catalogue: Neighbourhood) -> Guard:
    """Compare each feature's distance to the nearest other item with the catalogue's own distances.

    A ranker was not trained on features that lie outside the catalogue.

    Parameters
    ----------
    distances
        {variant: (B,) cosine distances}; ``images`` gives the verdict.
    catalogue
        Neighbourhood of the catalogue.

    Returns
    -------
    Guard
        Verdict ``outside`` if more than 5% of the images are beyond the 99th percentile of the catalogue's
        own distances, else ``inside``.
    """
    at = {variant: catalogue.percentile(d) for variant, d in distances.items()}
    far = {variant: float((p > FAR).mean()) for variant, p in at.items()}
    numbers = {f"{variant}_percentile": float(p.mean()) for variant, p in at.items()}
    numbers |= {f"{variant}_far": share for variant, share in far.items()}
    parts = [f"{variant} {100 * at[variant].mean():.0f} ({far[variant]:.0%} far)" for variant in at]
    text = (
        "mean percentile of the distance to the nearest item among the catalogue's own "
        f"(far: beyond {100 * FAR:.0f}): " + ", ".join(parts)
    )
    return Guard("distance", "outside" if far["images"] > FAR_SHARE else "inside", numbers, text)


def hubs(lists: Mapping[str, np.ndarray], catalogue: Neighbourhood) -> Guard:
    """Compare in how many items' lists of neighbours each feature enters with the catalogue's in-degrees.

    A hub influences the scores of many items, for every user.

    Parameters
    ----------
    lists
        {variant: (B,) numbers of lists}; ``images`` gives the verdict.
    catalogue
        Neighbourhood of the catalogue.

    Returns
    -------
    Guard
        Verdict ``hubs`` if more than 5% of the images enter more lists than 99% of the items do, else
        ``none``.
    """
    limit = float(np.quantile(catalogue.in_degree, HUB))
    share = {variant: float((n > limit).mean()) for variant, n in lists.items()}
    numbers = {f"{variant}_lists": float(np.mean(n)) for variant, n in lists.items()}
    numbers |= {f"{variant}_hubs": s for variant, s in share.items()}
    numbers |= {"catalogue_lists": float(catalogue.in_degree.mean()), "limit": limit}
    parts = [f"{variant} {np.mean(lists[variant]):.1f} ({share[variant]:.0%} hubs)" for variant in lists]
    text = (
        f"mean number of items' lists of {catalogue.k} entered, {catalogue.in_degree.mean():.1f} in the "
        f"catalogue (hub: more than {limit:.0f}): " + ", ".join(parts)
    )
    return Guard("hubs", "hubs" if share["images"] > FAR_SHARE else "none", numbers, text)


def copies(found: Copies, finder: CopyFinder) -> Guard:
    """Count the images that are images of the catalogue, whatever their bytes: these were not generated.

    All other guards place copies inside the catalogue.

    Parameters
    ----------
    found
        Copies found among the images.
    finder
        What found them.

    Returns
    -------
    Guard
        Verdict ``none``, ``some`` or ``all``.
    """
    _refuse_empty(found.row)
    numbers = {
        "n": len(found),
        "count": found.count,
        "own": int(found.own.sum()),
        "limit": finder.limit,
        "catalogue_share": finder.alike,
    }
    verdict = "none" if not found.count else "all" if found.count == len(found) else "some"
    return Guard("copies", verdict, numbers, f"{found.sentence}; {finder.rule}")


def _refuse_empty(values: np.ndarray) -> None:
    """Raise DataError if there are no pairs."""
    if len(values) == 0:
        raise DataError("a guard needs at least one pair of user and item, got none")
