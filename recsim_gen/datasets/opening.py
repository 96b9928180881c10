"""Data by name: ``NAME[:PATH]`` to a dataset."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from recsim_gen.core.errors import SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.registry import DATASETS, did_you_mean, resolve
from recsim_gen.core.types import Dataset
from recsim_gen.datasets.files.caption_files import with_captions
from recsim_gen.datasets.splits import SplitRule, resplit


def open_data(
    spec: str,
    *,
    captions: str | Path | None = None,
    split: SplitRule | None = None,
    split_seed: int = 0,
    valid_share: float = 0.1,
    test_share: float = 0.1,
    **settings: Any,
) -> Dataset:
    """Open ``NAME`` or ``NAME:PATH``, e.g. ``boutique`` or ``movielens:data/ml-latest-small``.

    ``captions`` is a file of captions that go over the data's own. ``split`` is a rule to split the
    choices by instead of the data's own: leave-last-out, by-ratio, by-time, by-user, the last three with
    ``valid_share`` and ``test_share`` (see ``splits``), by-ratio and by-user drawn with ``split_seed``.
    ``settings`` go to the loader (``sequence_length=20``). Raises SettingError for an unknown name or
    setting, and where a path is wanted and missing or given and not wanted; DataError for data that
    cannot be used.
    """
    name, _, path = spec.partition(":")
    if name not in DATASETS:
        raise SettingError(f"unknown data {name!r}.{did_you_mean(name, DATASETS)}")
    load: Callable[..., Dataset] = resolve(name, DATASETS, "data")
    parameters = inspect.signature(load).parameters
    takes_path = "path" in parameters
    if takes_path and not path and parameters["path"].default is inspect.Parameter.empty:
        raise SettingError(f"data {name!r} needs its folder, got none. Write {name}:PATH")
    if path and not takes_path:
        raise SettingError(f"data {name!r} takes no path, got {path!r}. Write {name}")
    own = [p for p, how in inspect.signature(open_data).parameters.items() if how.kind is how.KEYWORD_ONLY]
    known = [*(p for p in parameters if p != "path"), *own]
    for key in settings:
        if key not in known:
            raise SettingError(f"unknown setting {key!r} of data {name!r}.{did_you_mean(key, known)}")
    dataset = load(Path(path).expanduser(), **settings) if path else load(**settings)
    if split is not None:
        dataset = resplit(dataset, split, Rng(split_seed), valid=valid_share, test=test_share)
    return dataset if captions is None else with_captions(dataset, Path(captions).expanduser())
