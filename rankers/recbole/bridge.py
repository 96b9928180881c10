"""Everything that RecBole 1.2.1 needs to be used as a library; all workarounds live here.

Each workaround names the upstream issue, or the line at fault where none is known. What is used as
it is: atomic files, remapping, samplers, loaders, evaluator, `Trainer`.
"""

from __future__ import annotations

import logging
import os
import random
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
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

from rankers.configs import batch_size
from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.progress import bar
from recsim_gen.core.protocols import OnEpoch
from recsim_gen.core.randomness import Rng
from recsim_gen.core.types import Interactions


@dataclass(frozen=True)
class Session:
    """A RecBole config and its loaders, valid while `session` is open; ids are rows + 1."""

    config: Config
    dataset: Dataset
    train: TrainDataLoader
    valid: FullSortEvalDataLoader | None


class RowDataset(Dataset):  # type: ignore[misc]
    """RecBole's dataset with ids in row order: tokens are remapped from the item file first."""

    def field2feats(self, field: str) -> list[Any]:
        """The tables that hold a field, item or user file first."""
        return super().field2feats(field)[::-1]

    def __getitem__(self, index: Any, join: bool = True) -> Interaction:
        """Choices of one batch. Without RecBole's detour over lists, which takes longer than sampling.

        There is nothing to join: the tables of users and items hold ids alone.
        """
        at = torch.as_tensor(index)
        return Interaction({field: x[at] for field, x in self.inter_feat.interaction.items()})


@contextmanager
def guarded(rng: Rng) -> Iterator[None]:
    """Undo what RecBole does to the process: argv, CUDA_VISIBLE_DEVICES, numpy names, global seeds.

    `Config` reads ``sys.argv`` (``_load_cmd_line``), writes CUDA_VISIBLE_DEVICES (RecBole #1794) and
    puts removed names back into numpy (#1604); samplers draw from the global numpy stream. Inside,
    the global streams start at ``rng``; outside, they go on as they were.
    """
    names = ("bool", "int", "float", "complex", "object", "str", "long", "unicode")
    numpy_names = {n: np.__dict__[n] for n in names if n in np.__dict__}
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    state = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with (
            mock.patch.object(sys, "argv", sys.argv[:1] or [""]),
            torch.random.fork_rng(),
            warnings.catch_warnings(),
        ):
            warnings.filterwarnings("ignore", message=r"torch\.sparse\.SparseTensor")  # of its LightGCN
            warnings.simplefilter("ignore", SyntaxWarning)  # of its eval of the folder's name
            warnings.filterwarnings("ignore", message=r"`torch\.cuda\.amp")  # of its trainer
            random.seed(rng.integer())
            np.random.seed(rng.integer())  # noqa: NPY002
            torch.manual_seed(rng.integer())
            yield
    finally:
        random.setstate(state[0])
        np.random.set_state(state[1])  # noqa: NPY002
        for n in names:
            if n in numpy_names:
                setattr(np, n, numpy_names[n])
            elif n in np.__dict__:
                delattr(np, n)
        os.environ.pop("CUDA_VISIBLE_DEVICES", None)
        if visible is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = visible


@contextmanager
def session(
    model_class: type, interactions: Interactions, settings: Mapping[str, Any], rng: Rng, device: str
) -> Iterator[Session]:
    """Write atomic files of the train and valid splits, load them, make the loaders; guarded.

    The test split is never written, so nothing inside can read it. Files go to a temporary folder
    that also takes RecBole's ``saved/``; a stale dataloader there would be unpickled.
    """
    if "train_batch_size" in settings:
        size = batch_size(settings["train_batch_size"], len(interactions.only("train")[0]))
        settings = {**settings, "train_batch_size": size}
    with guarded(rng), tempfile.TemporaryDirectory(prefix="recsim-recbole-") as folder:
        most = settings.get("valid_users", 0)
        has_valid = _write_atomic_files(Path(folder) / "data", interactions, most)
        config = _config(model_class, interactions, settings, rng, device, folder, has_valid)
        dataset = RowDataset(config)
        built = dataset.build()
        phases = ["train", "valid"][: len(built)]
        sampler = Sampler(phases, built)
        loader = UserSampling if settings.get("sampling") == "user" else TrainDataLoader
        train = loader(config, built[0], sampler.set_phase("train"), shuffle=True)
        valid = None
        if has_valid:
            valid = FullSortEvalDataLoader(config, built[1], sampler.set_phase("valid"), shuffle=False)
        yield Session(config, built[0], train, valid)


def _write_atomic_files(folder: Path, interactions: Interactions, valid_users: int) -> bool:
    """Write what RecBole reads, of the valid split choices of ``valid_users`` (0: all); whether it has any.

    Users who chose every item are left out: there is no other to tell their choices from, and RecBole's
    sampler refuses them.
    """
    folder.mkdir()
    chosen = np.unique(np.stack(interactions.only("train", "valid")), axis=1)
    full = np.bincount(chosen[0], minlength=interactions.n_users) == interactions.n_items
    for split in ("train", "valid"):
        user, item = interactions.only(split)
        if split == "valid":
            asked = _asked(user, valid_users)
            user, item = user[asked], item[asked]
        if split == "train" and len(user) == 0:
            raise DataError("the train split must have interactions, got none")
        if split == "train" and full[user].all():
            raise DataError(
                "users who have not chosen every item are wanted, got none: there is nothing to tell their "
                "choices from",
                remedy="Add items, or choose a split that keeps some choices for test",
            )
        user, item = user[~full[user]], item[~full[user]]
        if len(user):
            frame = pd.DataFrame({"user_id:token": user, "item_id:token": item})
            frame.to_csv(folder / f"data.{split}.inter", sep="\t", index=False)
    for kind, size in (("user", interactions.n_users), ("item", interactions.n_items)):
        frame = pd.DataFrame({f"{kind}_id:token": np.arange(size)})
        frame.to_csv(folder / f"data.{kind}", sep="\t", index=False)
    return (folder / "data.valid.inter").exists()


def _asked(user: np.ndarray, most: int) -> np.ndarray:
    """Whether each choice is of one of ``most`` people, drawn once for every seed (0: of anybody)."""
    people = np.unique(user)
    if not 0 < most < len(people):
        return np.ones(len(user), dtype=bool)
    return np.isin(user, Rng(0).for_("validation").numpy().choice(people, size=most, replace=False))


def _config(
    model_class: type,
    interactions: Interactions,
    settings: Mapping[str, Any],
    rng: Rng,
    device: str,
    folder: str,
    has_valid: bool,
) -> Config:
    """Only numbers, our own constants and checked choices go in: ``_convert_config_dict`` evals strings."""
    own = {
        "data_path": folder,
        "checkpoint_dir": folder,
        "benchmark_filename": ["train", "valid"] if has_valid else ["train"],
        "load_col": {"inter": ["user_id", "item_id"], "user": ["user_id"], "item": ["item_id"]},
        "seed": rng.integer(),
        "gpu_id": "" if device == "cpu" else device.partition(":")[2] or "0",
        "eval_batch_size": 256 * (interactions.n_items + 1),  # 256 users; 4096 would mean one (#1878)
        "metrics": ["Recall", "NDCG"],
        "topk": [10, 20],
        "metric_decimal_place": 16,  # 4 would round before early stopping compares
        "show_progress": False,
    }
    with _quiet_logger():
        return Config(model=model_class, dataset="data", config_dict={**settings, **own})


@contextmanager
def _quiet_logger() -> Iterator[None]:
    """RecBole speaks through the root logger."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)


class UserSampling(TrainDataLoader):  # type: ignore[misc]
    """MICRO's published sampling: users drawn without replacement, one random positive each.

    ⌊interactions / batch⌋ + 1 batches an epoch of min(batch, users) users, with one negative drawn
    by RecBole's sampler.
    """

    def __init__(self, config: Config, dataset: Dataset, sampler: Sampler, shuffle: bool = False) -> None:
        super().__init__(config, dataset, sampler, shuffle=shuffle)
        user = np.asarray(dataset.inter_feat[dataset.uid_field])
        order = np.argsort(user, kind="stable")
        self.chosen = np.asarray(dataset.inter_feat[dataset.iid_field])[order]
        self.users, self.start, self.count = np.unique(user[order], return_index=True, return_counts=True)

    def __len__(self) -> int:
        return int(self.sample_size // self.config["train_batch_size"] + 1)

    def __iter__(self) -> Iterator[Interaction]:
        size = min(self.config["train_batch_size"], len(self.users))
        for _ in range(len(self)):
            pick = np.random.permutation(len(self.users))[:size]  # noqa: NPY002
            place = self.start[pick] + (np.random.random(size) * self.count[pick]).astype(int)  # noqa: NPY002
            negative = self._sampler.sample_by_user_ids(self.users[pick], self.chosen[place], 1)
            yield Interaction(
                {
                    self.uid_field: torch.from_numpy(self.users[pick]),
                    self.iid_field: torch.from_numpy(self.chosen[place]),
                    "neg_" + self.iid_field: negative,
                }
            )


class _NoTensorboard:
    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: None


class QuietTrainer(Trainer):  # type: ignore[misc]
    """RecBole's `Trainer` with a learning-rate schedule, a progress bar and the best weights in memory.

    It writes nothing: RecBole's own creates ``saved/`` and ``log_tensorboard/`` in the working
    directory and reads pickles back without ``weights_only`` (cf. #2212).
    """

    def __init__(self, config: Config, model: Any, on_epoch: OnEpoch | None) -> None:
        with mock.patch.object(recbole_trainer, "get_tensorboard", return_value=_NoTensorboard()):
            super().__init__(config, model)
        decay = config["learning_rate_decay"] or 1.0
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda epoch: decay ** (epoch / 50))
        self.on_epoch = on_epoch
        self.best: dict[str, torch.Tensor] = {}
        self.best_epoch = -1
        self.bar = bar(what=f"training {type(model).__name__}, at most", total=self.epochs, unit="epoch")
        self._validates = True
        self._numbers: dict[str, float] = {}

    def run(self, train: TrainDataLoader, valid: FullSortEvalDataLoader | None) -> dict[str, float]:
        """Train to the end or the early stop, put the best weights back, return their validation."""
        self._validates = valid is not None
        with self.bar:
            _, best = super().fit(train, valid, verbose=False, saved=True)
        self.model.load_state_dict(self.best)
        self.model.load_other_parameter(dict.fromkeys(self.model.other_parameter()))
        self.model.eval()
        return {} if best is None else {k: float(v) for k, v in best.items()}

    def _full_sort_batch_eval(self, batched_data: Any) -> Any:
        """As RecBole's, with columns of nobody where there are fewer items than its lists are long."""
        interaction, scores, *positive = super()._full_sort_batch_eval(batched_data)
        lacking = max(0, max(self.config["topk"]) - scores.shape[1])
        return interaction, torch.nn.functional.pad(scores, (0, lacking), value=-torch.inf), *positive

    def _train_epoch(self, train_data: Any, epoch_idx: int, **kwargs: Any) -> Any:
        loss = super()._train_epoch(train_data, epoch_idx, **kwargs)
        self.schedule.step()
        self._numbers = {"loss": float(np.sum(loss)) / len(train_data)}
        self.bar.update()
        self.bar.set_postfix(loss=f"{self._numbers['loss']:.4f}", best=f"{max(self.best_valid_score, 0):.4f}")
        if self.on_epoch is not None and not (self._validates and (epoch_idx + 1) % self.eval_step == 0):
            self.on_epoch(epoch_idx + 1, self._numbers)
        return loss

    def _valid_epoch(self, valid_data: Any, show_progress: bool = False) -> Any:
        score, result = super()._valid_epoch(valid_data, show_progress)
        self._numbers.update({f"valid_{k}": float(v) for k, v in result.items()})
        if self.on_epoch is not None:
            self.on_epoch(self.schedule.last_epoch, self._numbers)
        return score, result

    def _check_nan(self, loss: torch.Tensor) -> None:
        if loss.isnan():
            name = type(self.model).__name__
            raise SettingError(
                f"the loss of {name} became NaN. Lower learning_rate, or set negative_cosine=clamp "
                "(published-code keeps negative cosines, whose sums have no root)"
            )

    def _save_checkpoint(self, epoch: int, verbose: bool = True, **kwargs: Any) -> None:
        self.best_epoch = epoch + 1
        self.best = {k: v.detach().clone() for k, v in self.model.state_dict().items()}


def item_features(config: Config, dataset: Dataset) -> dict[str, np.ndarray]:
    """{modality: (item_num − 1, d)} in the order of RecBole's ids, [PAD] left out.

    ``config["item_features"]`` maps a modality to a file or to (ids, x): RecBole's own way, text
    columns of an ``.item`` file, is slow to read.
    """
    tokens = dataset.field2id_token[dataset.iid_field][1:]
    out = {}
    for modality, source in (config["item_features"] or {}).items():
        if isinstance(source, (str, Path)):
            with np.load(source, allow_pickle=False) as file:
                ids, x = file["ids"].astype(str), file["x"]
        else:
            ids, x = source
        place = pd.Index(ids).get_indexer(tokens)
        if (place < 0).any():
            missing = tokens[place < 0][0]
            raise DataError(
                f"features {modality!r} lack item {missing!r} and {int((place < 0).sum()) - 1} more"
            )
        out[modality] = np.asarray(x, dtype=np.float32)[place]
    return out
