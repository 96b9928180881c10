"""Training of the taste verifier on people's opinions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from recsim_gen.core.errors import DataError
from recsim_gen.core.progress import bar
from recsim_gen.metrics.auc import auc
from recsim_gen.metrics.taste_verifier.metric import TasteVerifier

if TYPE_CHECKING:
    from collections.abc import Callable

    from recsim_gen.core.randomness import Rng
    from recsim_gen.metrics.taste_verifier.config import VerifierConfig
    from recsim_gen.metrics.taste_verifier.opinions import Opinions


@dataclass(frozen=True, eq=False)
class Trained:
    """A verifier, its training rows, the rows of the ``test`` part, and the numbers of each epoch."""

    model: TasteVerifier
    learned: np.ndarray
    test: np.ndarray
    epochs: list[dict[str, float]]


def train(
    given: Opinions,
    features: np.ndarray,
    *,
    config: VerifierConfig,
    rng: Rng,
    device: str = "cpu",
    on_epoch: Callable[[int, dict[str, float]], None] | None = None,
) -> Trained:
    """Train by binary cross-entropy with AdamW; the epoch with the best AUC on the valid part is kept.

    ``features`` (n_items, d). Each epoch reports ``loss`` and ``valid_auc``. Raises DataError for too few
    opinions.
    """
    learned, valid, test = _split(given.together, config, rng)
    if len(learned) < 2 or not len(test):
        raise DataError(f"opinions to train and to test on are wanted, got {len(given.person)}")
    person = torch.as_tensor(given.person, device=device)
    item = torch.as_tensor(given.item, device=device)
    liked = torch.as_tensor(given.liked, dtype=torch.float32, device=device)
    x = torch.tensor(features, device=device)  # a copy, since a catalogue's features are read-only
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(rng.for_("weights").integer())  # for the initial weights and the dropout
        model = TasteVerifier(len(given.people), features.shape[1]).to(device)
        optimiser = torch.optim.AdamW(model.parameters(), lr=config.lr, weight_decay=config.weight_decay)
        epochs, best, kept = [], -np.inf, model.state_dict()
        for epoch in bar(range(config.epochs), "training the verifier", unit="epoch"):
            order = torch.from_numpy(rng.for_("order", epoch).numpy().permutation(learned)).to(device)
            model.train()
            total = 0.0
            for rows in order.split(config.batch):
                if len(rows) < 2:  # batch normalisation needs two
                    continue
                loss = torch.nn.functional.binary_cross_entropy_with_logits(
                    model(person[rows], x[item[rows]]), liked[rows]
                )
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                total += float(loss.detach()) * len(rows)
            score = model.probability(given.person[valid], features[given.item[valid]])
            numbers = {"loss": total / len(order), "valid_auc": auc(given.liked[valid], score)}
            epochs.append(numbers)
            if on_epoch is not None:
                on_epoch(epoch, numbers)
            if not numbers["valid_auc"] <= best:  # NaN (a valid part of one class) keeps the last epoch
                best = numbers["valid_auc"]
                kept = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(kept)
    return Trained(model, learned, test, epochs)


def _split(together: np.ndarray, config: VerifierConfig, rng: Rng) -> list[np.ndarray]:
    """Return the rows of train, valid and test, keeping groups ``together`` (m,).

    Without the groups, a choice and its paired item could leak between the parts.
    """
    order = rng.for_("split").numpy().permutation(together.max() + 1)
    ends = np.rint(np.array([config.train, config.train + config.valid]) * len(order)).astype(int)
    return [np.flatnonzero(np.isin(together, part)) for part in np.split(order, ends)]
