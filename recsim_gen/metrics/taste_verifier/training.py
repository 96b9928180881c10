"""Training of the verifier of personal taste on a data set's ratings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from recsim_gen.core.errors import DataError
from recsim_gen.core.progress import bar
from recsim_gen.core.statistics import Estimate
from recsim_gen.metrics.auc import auc, auc_interval
from recsim_gen.metrics.taste_verifier.metric import TasteVerifier

if TYPE_CHECKING:
    from collections.abc import Callable

    from recsim_gen.core.randomness import Rng
    from recsim_gen.core.types import Interactions
    from recsim_gen.metrics.taste_verifier.config import VerifierConfig


@dataclass(frozen=True, eq=False)
class Opinions:
    """Who liked what: ``user`` and ``item`` (m,) rows, ``liked`` (m,) bool, and how ``labels`` came about."""

    user: np.ndarray
    item: np.ndarray
    liked: np.ndarray
    labels: str


@dataclass(frozen=True, eq=False)
class Trained:
    """A verifier, its AUC on the test part, and what each epoch gave (``loss``, ``valid_auc``)."""

    model: TasteVerifier
    auc: Estimate
    epochs: list[dict[str, float]]


def opinions(interactions: Interactions, present: np.ndarray, threshold: float, rng: Rng) -> Opinions:
    """Ratings as opinions, of items that have a picture (``present`` (n,) bool).

    Liked: weight ≥ ``threshold``. Where the weights are all equal there are no ratings: then every
    choice is liked, and each gets an item beside it that its user did not choose, drawn uniformly.
    Raises DataError where ratings do not tell two kinds apart at the threshold.
    """
    user, item, weight = interactions.user, interactions.item, interactions.weight
    keep = present[item]
    if not keep.any():
        raise DataError("items with pictures are wanted, none of those that were chosen has one")
    if (weight == weight[0]).all():
        user, item = user[keep], item[keep]
        other = _not_chosen(interactions, user, present, rng)
        liked = np.repeat([True, False], len(user))
        both = np.tile(user, 2), np.concatenate([item, other])
        return Opinions(*both, liked, "chosen against not chosen (there are no ratings)")
    liked = weight[keep] >= threshold
    if liked.all() or not liked.any():
        raise DataError(
            f"ratings above and below {threshold:g} are wanted, got {weight.min():g} to {weight.max():g}",
            remedy="Set another threshold: --verifier.threshold",
        )
    return Opinions(user[keep], item[keep], liked, f"rating of {threshold:g} and more")


def _not_chosen(interactions: Interactions, users: np.ndarray, present: np.ndarray, rng: Rng) -> np.ndarray:
    """(m,) for each of ``users`` a random item with picture that the user has in no split."""
    generator, n = rng.for_("not chosen").numpy(), interactions.n_items
    taken = np.unique(interactions.user * n + interactions.item)
    choices = np.flatnonzero(present)
    item = generator.choice(choices, len(users))
    for _ in range(100):
        again = np.flatnonzero(np.isin(users * n + item, taken))
        if not len(again):
            return item
        item[again] = generator.choice(choices, len(again))
    raise DataError("items that a user did not choose are wanted; somebody chose nearly all of them")


def train(
    given: Opinions,
    features: np.ndarray,
    n_users: int,
    clusters: np.ndarray,
    *,
    config: VerifierConfig,
    rng: Rng,
    device: str = "cpu",
    on_epoch: Callable[[int, dict[str, float]], None] | None = None,
) -> Trained:
    """Binary cross-entropy with AdamW; the epoch with the best AUC on the valid part is kept.

    ``features`` (n_items, d). ``clusters`` (n_users,) say which rows of users are one person: the
    interval of the test AUC resamples people. Raises DataError for too few opinions.
    """
    part = _split(len(given.user), config, rng)
    if len(part[0]) < 2:
        raise DataError(f"opinions to train on are wanted, got {len(given.user)}")
    user = torch.as_tensor(given.user, device=device)
    item = torch.as_tensor(given.item, device=device)
    liked = torch.as_tensor(given.liked, dtype=torch.float32, device=device)
    x = torch.as_tensor(features, device=device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(rng.for_("weights").integer())  # of the weights, and of dropout below
        model = TasteVerifier(n_users, features.shape[1]).to(device)
        optimiser = torch.optim.AdamW(model.parameters(), lr=config.lr, weight_decay=config.weight_decay)
        epochs, best, kept = [], -np.inf, model.state_dict()
        for epoch in bar(range(config.epochs), "training the verifier", unit="epoch"):
            order = torch.from_numpy(rng.for_("order", epoch).numpy().permutation(part[0])).to(device)
            model.train()
            total = 0.0
            for rows in order.split(config.batch):
                if len(rows) < 2:  # nothing to normalise over
                    continue
                loss = torch.nn.functional.binary_cross_entropy_with_logits(
                    model(user[rows], x[item[rows]]), liked[rows]
                )
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                total += float(loss.detach()) * len(rows)
            numbers = {"loss": total / len(order), "valid_auc": _auc_of(model, given, features, part[1])}
            epochs.append(numbers)
            if on_epoch is not None:
                on_epoch(epoch, numbers)
            if not numbers["valid_auc"] <= best:  # NaN, of a valid part of one kind, keeps the last
                best = numbers["valid_auc"]
                kept = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(kept)
    test = part[2]
    score = model.probability(given.user[test], features[given.item[test]])
    return Trained(model, auc_interval(given.liked[test], score, clusters[given.user[test]], rng), epochs)


def _split(m: int, config: VerifierConfig, rng: Rng) -> list[np.ndarray]:
    """Rows of train, valid and test, drawn by opinion."""
    order = rng.for_("split").numpy().permutation(m)
    ends = np.rint(np.array([config.train, config.train + config.valid]) * m).astype(int)
    return np.split(order, ends)


def _auc_of(model: TasteVerifier, given: Opinions, features: np.ndarray, rows: np.ndarray) -> float:
    score = model.probability(given.user[rows], features[given.item[rows]])
    return auc(given.liked[rows], score) if len(rows) else float("nan")
