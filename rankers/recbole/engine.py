"""Training of our models by RecBole: its data sets, loaders, negatives, evaluator and `Trainer`.

`train` replaces `rankers.training.loop.train`; tests compare both. The workarounds that RecBole 1.2.1 needs
as a library are here and in `guard`; each names the upstream issue, or the line at fault if none is known.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import recbole.trainer.trainer as recbole_trainer
import torch
from recbole.config import Config
from recbole.data.dataloader import FullSortEvalDataLoader, TrainDataLoader
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction
from recbole.sampler import Sampler
from recbole.trainer import Trainer

from rankers.configs import Training
from rankers.recbole.guard import guarded
from rankers.recbole.models import InRecBole
from rankers.training.data import train_choices, valid_choices
from rankers.training.loop import Trained
from rankers.training.model import RankerModel
from rankers.training.pairs import Pairs
from rankers.training.validation import AT_ONCE, KS
from recsim_gen.core.protocols import OnEpoch
from recsim_gen.core.types import Interactions


def train(
    model: RankerModel, interactions: Interactions, *, seed: int, on_epoch: OnEpoch | None = None
) -> Trained:
    """Train ``model`` in place by RecBole, as `rankers.training.loop.train` does."""
    with session(InRecBole, model.settings, interactions, seed, model.device) as opened:
        trainer = QuietTrainer(opened.config, InRecBole(opened.config, opened.dataset, model), on_epoch)
        return trainer.run(opened.train, opened.valid)


@dataclass(frozen=True)
class Session:
    """RecBole's config and loaders, valid while `session` is open; ids are rows + 1."""

    config: Config
    dataset: Dataset
    train: Any
    valid: FullSortEvalDataLoader | None


@contextmanager
def session(
    model_class: type, settings: Training, interactions: Interactions, seed: int, device: torch.device
) -> Iterator[Session]:
    """Write atomic files of the train and valid splits, load them and make the loaders, `guarded`.

    The test split is never written, so nothing inside can read it. Files are in a temporary folder, which
    also holds RecBole's ``saved/``; a stale dataloader there would be unpickled. Batches of users are ours,
    since RecBole has none.
    """
    rows = {"train": train_choices(interactions), "valid": valid_choices(interactions, settings.valid_users)}
    phases = [split for split, (user, _) in rows.items() if len(user)]
    with guarded(seed), tempfile.TemporaryDirectory(prefix="recsim-recbole-") as folder:
        _write(Path(folder) / "data", interactions, {split: rows[split] for split in phases})
        own = {"data_path": folder, "checkpoint_dir": folder, "benchmark_filename": phases, "seed": seed}
        config = _config(model_class, {**asdict(settings), **own}, interactions.n_items, device)
        built = RowDataset(config).build()
        sampler = Sampler(phases, built)
        train: Any = TrainDataLoader(config, built[0], sampler.set_phase("train"), shuffle=True)
        if settings.sampling != "interaction":
            train = OurBatches(Pairs(*rows["train"], interactions.n_items, settings, seed), built[0])
        valid = None
        if len(phases) > 1:
            valid = FullSortEvalDataLoader(config, built[1], sampler.set_phase("valid"), shuffle=False)
        yield Session(config, built[0], train, valid)


class RowDataset(Dataset):  # type: ignore[misc]
    """RecBole's dataset with ids in row order: tokens are remapped from the item file first."""

    def field2feats(self, field: str) -> list[Any]:
        """Return the tables that hold a field, item or user file first."""
        return super().field2feats(field)[::-1]

    def __getitem__(self, index: Any, join: bool = True) -> Interaction:
        """Return the choices of one batch, without RecBole's detour over lists, slower than sampling.

        Nothing is joined, since the tables of users and items hold ids only.
        """
        at = torch.as_tensor(index)
        return Interaction({field: x[at] for field, x in self.inter_feat.interaction.items()})


class OurBatches:
    """Batches of our pairs as RecBole's interactions."""

    def __init__(self, pairs: Pairs, dataset: Dataset) -> None:
        self.pairs, self.names = pairs, (dataset.uid_field, dataset.iid_field, "neg_" + dataset.iid_field)

    def __len__(self) -> int:
        return len(self.pairs)

    def __iter__(self) -> Iterator[Interaction]:
        for batch in self.pairs:
            yield Interaction({name: rows + 1 for name, rows in zip(self.names, batch, strict=True)})


def _write(
    folder: Path, interactions: Interactions, splits: Mapping[str, tuple[np.ndarray, np.ndarray]]
) -> None:
    """Write atomic files of these splits, and of all users and items."""
    folder.mkdir()
    for split, (user, item) in splits.items():
        if len(user):
            frame = pd.DataFrame({"user_id:token": user, "item_id:token": item})
            frame.to_csv(folder / f"data.{split}.inter", sep="\t", index=False)
    for kind, size in (("user", interactions.n_users), ("item", interactions.n_items)):
        frame = pd.DataFrame({f"{kind}_id:token": np.arange(size)})
        frame.to_csv(folder / f"data.{kind}", sep="\t", index=False)


def _config(model_class: type, settings: dict[str, Any], n_items: int, device: torch.device) -> Config:
    """Return RecBole's config.

    It gets only numbers, our own constants and checked choices, since ``_convert_config_dict`` evaluates
    strings.
    """
    own = {
        "load_col": {"inter": ["user_id", "item_id"], "user": ["user_id"], "item": ["item_id"]},
        "gpu_id": "" if device.type == "cpu" else str(device.index or 0),
        "eval_batch_size": AT_ONCE * (n_items + 1),  # AT_ONCE users; 4096 would mean one (#1878)
        "metrics": ["Recall", "NDCG"],
        "topk": list(KS),
        "metric_decimal_place": 16,  # 4 would round before early stopping compares
        "show_progress": False,
    }
    root = logging.getLogger()  # RecBole logs to it
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        return Config(model=model_class, dataset="data", config_dict={**settings, **own})
    finally:
        root.setLevel(level)


class _NoTensorboard:
    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: None


class QuietTrainer(Trainer):  # type: ignore[misc]
    """RecBole's `Trainer` with a learning-rate schedule, and with the best weights in memory.

    It writes nothing, while RecBole's own creates ``saved/`` and ``log_tensorboard/`` in the working
    directory and reads pickles back without ``weights_only`` (cf. #2212).
    """

    def __init__(self, config: Config, model: InRecBole, on_epoch: OnEpoch | None) -> None:
        with mock.patch.object(recbole_trainer, "get_tensorboard", return_value=_NoTensorboard()):
            super().__init__(config, model)
        decay = config["learning_rate_decay"]
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda epoch: decay ** (epoch / 50))
        self.on_epoch = on_epoch
        self.best: dict[str, torch.Tensor] = {}
        self.best_epoch = 0
        self._validates = True
        self._numbers: dict[str, float] = {}

    def run(self, train: Any, valid: FullSortEvalDataLoader | None) -> Trained:
        """Train to the last epoch or the early stop, and restore the best weights."""
        self._validates = valid is not None
        _, best = super().fit(train, valid, verbose=False, saved=True)
        self.model.load_state_dict(self.best)
        self.model.eval()
        return Trained(self.best_epoch, {k: float(v) for k, v in (best or {}).items()})

    def _full_sort_batch_eval(self, batched_data: Any) -> Any:
        """Return RecBole's result, with columns of −inf if there are fewer items than places in its lists."""
        interaction, scores, *positive = super()._full_sort_batch_eval(batched_data)
        lacking = max(0, max(KS) - scores.shape[1])
        return interaction, torch.nn.functional.pad(scores, (0, lacking), value=-torch.inf), *positive

    def _train_epoch(self, train_data: Any, epoch_idx: int, **kwargs: Any) -> Any:
        loss = super()._train_epoch(train_data, epoch_idx, **kwargs)
        self.schedule.step()
        self._numbers = {"loss": float(np.sum(loss)) / len(train_data)}
        if self.on_epoch is not None and not (self._validates and (epoch_idx + 1) % self.eval_step == 0):
            self.on_epoch(epoch_idx + 1, self._numbers)
        return loss

    def _valid_epoch(self, valid_data: Any, show_progress: bool = False) -> Any:
        score, result = super()._valid_epoch(valid_data, show_progress)
        self._numbers.update({f"valid_{k}": float(v) for k, v in result.items()})
        if self.on_epoch is not None:
            self.on_epoch(self.schedule.last_epoch, self._numbers)
        return score, result

    def _save_checkpoint(self, epoch: int, verbose: bool = True, **kwargs: Any) -> None:
        self.best_epoch = epoch + 1
        self.best = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
