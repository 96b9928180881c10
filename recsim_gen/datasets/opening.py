"""Opens data by name: a `DataSpec` to a dataset."""

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

    Remarks of readers come before the other notes of the dataset.

    Parameters
    ----------
    spec
        Name and settings. The name refers to a function that returns a `Dataset`, or a settings dataclass
        whose ``dataset()`` returns it.
    settings
        Override those of ``spec``: settings of the loader (``sequence_length=20``), or those that all data
        have, see `prepared`.

    Returns
    -------
    Dataset
        The data set.

    Raises
    ------
    SettingError
        If the name or a setting is unknown, or a path is missing or not needed.
    DataError
        If the data cannot be used.
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
    with remarks() as lines:
        loaded = load(Path(path).expanduser(), **own) if path else load(**own)
        dataset = loaded.dataset() if hasattr(loaded, "dataset") else loaded
        if not isinstance(dataset, Dataset):
            raise SettingError(f"data {name!r} must give a Dataset, got {type(dataset).__name__}")
        dataset = prepared(dataset, **shared)
    return replace(dataset, notes=(*lines, *dataset.notes)) if lines else dataset


def prepared(
    dataset: Dataset,
    *,
    captions: str | None = None,  # CSV or JSON file of captions that override the data's own
    split: SplitRule | None = None,  # rule that splits the choices; null: the data's own
    split_seed: int = 0,  # seed of by-ratio and by-user
    valid_share: float = 0.1,  # share of a user's choices (by-ratio), all choices (by-time), people (by-user)
    test_share: float = 0.1,  # as valid_share, for the test split
) -> Dataset:
    """Return the dataset with the settings that all data have: captions of a file, another split."""
    if split is not None:
        dataset = resplit(dataset, split, Rng(split_seed), valid=valid_share, test=test_share)
    return dataset if captions is None else with_captions(dataset, Path(captions).expanduser())
