"""Data by name: a `DataSpec` to a dataset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from recsim_gen.core.errors import SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.registry import DATASETS, did_you_mean, resolve
from recsim_gen.core.settings import settings_of
from recsim_gen.core.specs import DataSpec
from recsim_gen.core.types import Dataset
from recsim_gen.datasets.files.caption_files import with_captions
from recsim_gen.datasets.files.remarks import remarks
from recsim_gen.datasets.splits import SplitRule, resplit


def open_data(spec: DataSpec | str, **settings: Any) -> Dataset:
    """Open ``NAME`` or ``NAME:PATH``, e.g. ``boutique`` or ``csv:data/shop``, or ``module:function[:PATH]``.

    What a name stands for gives a `Dataset`, or is a dataclass of settings whose ``dataset()`` does.
    ``settings``, over those of ``spec``, go to it (``sequence_length=20``) or, those that all data have,
    to `prepared`. Raises SettingError for an unknown name or setting, and where a path is wanted and
    missing or given and not wanted; DataError for data that cannot be used. What readers remark on the way
    stands before the other notes.
    """
    spec = DataSpec(spec) if isinstance(spec, str) else spec
    name, path = spec.parts
    load: Callable[..., Any] = resolve(name, DATASETS, spec.what)
    spec.check()
    parameters = {setting.name for setting in settings_of(load)}
    values, settable = {**spec.settings, **settings}, [setting.name for setting in spec.known()]
    for key in values:
        if key not in settable:
            raise SettingError(f"unknown setting {key!r} of data {name!r}.{did_you_mean(key, settable)}")
    own = {key: value for key, value in values.items() if key in parameters}
    shared = {key: value for key, value in values.items() if key not in parameters}
    with remarks() as said:
        loaded = load(Path(path).expanduser(), **own) if path else load(**own)
        dataset = loaded.dataset() if hasattr(loaded, "dataset") else loaded
        if not isinstance(dataset, Dataset):
            raise SettingError(f"data {name!r} must give a Dataset, got {type(dataset).__name__}")
        dataset = prepared(dataset, **shared)
    return replace(dataset, notes=(*said, *dataset.notes)) if said else dataset


def prepared(
    dataset: Dataset,
    *,
    captions: str | None = None,  # CSV or JSON file of captions that go over the data's own
    split: SplitRule | None = None,  # rule to split the choices by; null: the data's own
    split_seed: int = 0,  # of the draws of by-ratio and by-user
    valid_share: float = 0.1,  # of a user's choices (by-ratio), of all (by-time), of the people (by-user)
    test_share: float = 0.1,  # of the same
) -> Dataset:
    """The dataset with what can be set for all data: captions of a file, another split (see ``splits``)."""
    if split is not None:
        dataset = resplit(dataset, split, Rng(split_seed), valid=valid_share, test=test_share)
    return dataset if captions is None else with_captions(dataset, Path(captions).expanduser())
