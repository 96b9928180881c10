"""Tests whether a ranker uses images at all: permute them among the items, train again, compare.

A ranker that learns equally well from wrong images says nothing about an image, so its score must not be a
reward. The verdict is stored beside the checkpoint (`verdicts`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from recsim_gen.core.errors import SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.statistics import holm
from recsim_gen.judging.guards import Guard

if TYPE_CHECKING:
    from recsim_gen.core.protocols import Ranker
    from recsim_gen.core.types import Catalog, Interactions

NAME = "modality use"
LEVEL = 0.05
SCORES_HELD = 1 << 24


def modality_use(
    train: Callable[[Catalog, int], Ranker],
    catalog: Catalog,
    interactions: Interactions,
    seeds: Sequence[int],
    *,
    modality: str = "image",
) -> Guard:
    """Train on the catalogue and on one with a permuted modality, with each seed, and compare.

    Features are permuted among the items that have an image, differently for each seed. The ranker ``uses``
    the modality if permuting raises its `validation_loss` or lowers its NDCG@20 on the valid split by more
    than the seeds vary: one-sided paired t-test over seeds, Holm-adjusted for the two, p < 0.05.

    Parameters
    ----------
    train
        ``train(catalog, seed)`` returns a trained ranker; equal seeds must give equal initial weights and
        draws.
    catalog, interactions
        The data.
    seeds
        At least two seeds.
    modality
        Modality to permute.

    Returns
    -------
    Guard
        Verdict ``uses`` or ``does not use``.

    Raises
    ------
    SettingError
        If there are fewer than two seeds or the catalogue lacks the modality.
    """
    if len(set(seeds)) < 2:
        raise SettingError(
            f"modality use is tested against the spread of seeds: give 2 seeds or more, got {len(set(seeds))}"
        )
    if modality not in catalog.features:
        raise SettingError(f"no features {modality!r} to permute, got {sorted(catalog.features)}")
    each = [_measured(train(*one), interactions) for one in trainings(catalog, seeds, modality)]
    measured = np.array(each).reshape(-1, 2, 2)  # (S, 2, 2): seed, own or permuted, loss and NDCG
    loss, ndcg = measured[:, 1, 0] - measured[:, 0, 0], measured[:, 0, 1] - measured[:, 1, 1]
    p = holm([_paired_p(loss), _paired_p(ndcg)])
    return _guard(modality, measured, loss, ndcg, p)


def _guard(modality: str, measured: np.ndarray, loss: np.ndarray, ndcg: np.ndarray, p: np.ndarray) -> Guard:
    uses = bool((p < LEVEL).any())
    own, wrong = measured.mean(0)
    numbers = {
        "seeds": len(measured),
        "valid_loss": float(own[0]),
        "valid_loss_permuted": float(wrong[0]),
        "valid_loss_sd_of_difference": float(loss.std(ddof=1)),
        "valid_loss_p": float(p[0]),
        "valid_ndcg": float(own[1]),
        "valid_ndcg_permuted": float(wrong[1]),
        "valid_ndcg_sd_of_difference": float(ndcg.std(ddof=1)),
        "valid_ndcg_p": float(p[1]),
    }
    text = (
        f"with the {modality} features permuted among items, validation loss goes from {own[0]:.4f} to "
        f"{wrong[0]:.4f} (p {p[0]:.2g}), NDCG@20 from {own[1]:.4f} to {wrong[1]:.4f} (p {p[1]:.2g}; "
        f"paired over {len(measured)} seeds, Holm)"
    )
    verdict = "uses" if uses else "does not use"
    return Guard(NAME, verdict, numbers, f"the ranker {verdict} the {modality}: {text}")


def trainings(catalog: Catalog, seeds: Sequence[int], modality: str = "image") -> list[tuple[Catalog, int]]:
    """Return each training: for each seed, the catalogue and the catalogue with ``modality`` permuted."""
    return [(c, seed) for seed in seeds for c in (catalog, permuted(catalog, modality, seed))]


def permuted(catalog: Catalog, modality: str, seed: int) -> Catalog:
    """Return the catalogue with ``modality`` permuted among the items that have an image."""
    images = catalog.images
    everyone = modality != "image" or images is None
    rows = np.arange(len(catalog)) if everyone else np.flatnonzero(images.present)  # type: ignore[union-attr]
    mixed = Rng(seed).for_("modality use", modality).numpy().permutation(rows)
    return catalog.with_features(modality, rows, catalog.features[modality][mixed])


def _measured(ranker: Ranker, interactions: Interactions) -> tuple[float, float]:
    """Return (validation loss, NDCG@20)."""
    from recsim_gen.metrics.evaluation import evaluate

    table = evaluate(ranker, interactions, split="valid", ks=(20,), masked=("train",))
    return validation_loss(ranker, interactions), float(table["ndcg@20"].mean())


def validation_loss(ranker: Ranker, interactions: Interactions) -> float:
    """Return the BPR loss on the valid split: mean of −log σ(score of the item − score of another), in nats.

    The mean is over each valid choice and *every* item that its user chose in neither train nor valid. No
    negatives are sampled, so the comparison of two rankers has no sampling noise. O(block·n) memory.
    """
    import torch
    import torch.nn.functional as F

    from recsim_gen.metrics.evaluation import mask_of

    user, item = interactions.only("valid")
    seen = interactions.only("train", "valid")
    block = max(1, SCORES_HELD // interactions.n_items)
    total = 0.0
    for s in range(0, len(user), block):
        people = user[s : s + block]
        rows, place = np.unique(people, return_inverse=True)
        scores = ranker.score(rows)
        others = torch.from_numpy(~mask_of(rows, *seen, interactions.n_items))[place].to(scores.device)
        scores = scores[torch.from_numpy(place).to(scores.device)]
        own = scores[torch.arange(len(people)), torch.from_numpy(item[s : s + block]).to(scores.device)]
        lost = F.softplus(scores - own[:, None]) * others
        total += float((lost.sum(1, dtype=torch.float64) / others.sum(1)).sum())
    return total / len(user)


def _paired_p(worse: np.ndarray) -> float:
    """Return the one-sided p of a mean above 0; without any spread, 0 or 1."""
    from scipy.stats import ttest_1samp

    if np.ptp(worse) == 0:
        return 0.0 if worse[0] > 0 else 1.0
    return float(ttest_1samp(worse, 0, alternative="greater").pvalue)
