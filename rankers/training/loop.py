"""Training loop of rankers: batches of pairs, Adam, and validation for early stopping and selection.

With the same seed, the weights are bitwise those of RecBole 1.2.1's `Trainer` (`rankers.recbole.engine`).
"""

from __future__ import annotations

import math
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from rankers.training.data import train_choices
from rankers.training.model import RankerModel
from rankers.training.pairs import Batch, Pairs
from rankers.training.validation import Validation
from recsim_gen.core.errors import SettingError
from recsim_gen.core.processes import Team
from recsim_gen.core.progress import bar, quietly
from recsim_gen.core.protocols import OnEpoch
from recsim_gen.core.types import Interactions


class Trained(NamedTuple):
    """Epoch of the kept weights, from 1, and its validation by metric ({} without a valid split)."""

    epoch: int
    valid: dict[str, float]


def train(
    model: RankerModel, interactions: Interactions, *, seed: int, on_epoch: OnEpoch | None = None
) -> Trained:
    """Train ``model`` in place on the train split, by its settings.

    The valid split is evaluated every ``eval_step`` epochs; training ends after more than ``stopping_step``
    evaluations without improvement, and the best weights are restored (the later of equals). Without a valid
    split, it continues to the last epoch. Batches and negatives depend on ``seed``; what a model draws itself
    comes from torch's global generator. Raises SettingError if the loss becomes NaN.

    In `working_together`, all processes call this alike: they share the pairs of each step or the columns of
    the model's tables, and the users of a validation. All get equal weights, which are those of one process
    up to rounding.
    """
    config, team = model.settings, Team()
    pairs = Pairs(*train_choices(interactions), interactions.n_items, config, seed)
    validation = Validation(interactions, config.valid_users, model.device)
    model.divide(team)
    optimizer = model.optimizer()
    schedule = LambdaLR(optimizer, lambda epoch: config.learning_rate_decay ** (epoch / 50))
    every, metric = min(config.eval_step, config.epochs), config.valid_metric.lower()
    best, missed = Trained(0, {}), 0
    what = f"training {type(model).__name__}, at most"
    with (
        TemporaryDirectory() as folder,
        quietly(not team.is_main_process),
        bar(what=what, total=config.epochs, unit="epoch") as shown,
    ):
        weights = Path(folder) / "best.pt"  # a second copy in memory is half a gigabyte at a million items
        for epoch in range(1, config.epochs + 1):
            numbers = {"loss": one_epoch(model, pairs, optimizer, team)}
            schedule.step()
            if not validation:
                best = Trained(epoch, {})
            elif epoch % every == 0:
                found = validation(model, team)
                numbers |= {f"valid_{k}": value for k, value in found.items()}
                if found[metric] >= best.valid.get(metric, -math.inf):
                    best, missed = Trained(epoch, found), 0
                    torch.save(model.state_dict(), weights)
                else:
                    missed += 1
            shown.update()
            shown.set_postfix(loss=f"{numbers['loss']:.4f}", best=f"{best.valid.get(metric, 0):.4f}")
            if on_epoch is not None:
                on_epoch(epoch, numbers)
            if missed > config.stopping_step:
                break
        if best.epoch not in (0, epoch):
            model.load_state_dict(torch.load(weights, "cpu", weights_only=True, mmap=True))
    model.unite()
    model.eval()
    return best


def one_epoch(model: RankerModel, pairs: Pairs, optimizer: torch.optim.Optimizer, team: Team) -> float:
    """Take a step for each batch; return the mean of their losses."""
    model.train()
    total = 0.0
    for batch in pairs:
        total += _number(_backward(model, batch.to(model.device), team), model)
        optimizer.step()
        optimizer.zero_grad()  # here, so that a validation holds no gradients
    return total / len(pairs)


def _backward(model: RankerModel, batch: Batch, team: Team) -> Tensor:
    """Set the gradients of the loss of a batch; return the loss."""
    whole = model.columns.shared
    loss = model.loss(batch) if whole else _own_part(model, batch, team)
    loss.backward()
    value = loss.detach()
    own = {id(table.weight) for table in model.tables()} if whole else set()
    parts = [p.grad for p in model.parameters() if p.grad is not None and id(p) not in own]
    team.add(parts if whole else [value, *parts])
    return value


def _own_part(model: RankerModel, batch: Batch, team: Team) -> Tensor:
    """Return this process's part of the loss of a batch; the parts of all processes sum to it."""
    if team.count == 1:
        return model.loss(batch)
    if not model.adds_up or len(batch.user) < team.count:
        return model.loss(batch) / team.count
    own = Batch(*(rows[team.index :: team.count] for rows in batch))
    return model.loss(own) * (len(own.user) / len(batch.user))


def _number(loss: Tensor, model: RankerModel) -> float:
    value = loss.item()
    if math.isnan(value):
        raise SettingError(
            f"the loss of {type(model).__name__} became NaN. Lower learning_rate, or set "
            "negative_cosine=clamp (published-code keeps negative cosines, whose sums have no root)"
        )
    return value
