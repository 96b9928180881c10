"""Writes any dataset as RecBole's atomic files, with features beside them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from recsim_gen.core.errors import SettingError
from recsim_gen.core.store import atomic
from recsim_gen.core.types import SPLITS, Dataset

if TYPE_CHECKING:
    import pandas as pd

_MISSING = (
    "",
    "#N/A",
    "#NA",
    "<NA>",
    "N/A",
    "n/a",
    "NA",
    "NULL",
    "null",
    "NaN",
    "nan",
    "-NaN",
    "-nan",
    "None",
)
"""Words that pandas, which RecBole reads with, treats as missing values."""

_README = """\
{name}: atomic files of RecBole 1.2, one token an id.

{name}.inter holds all choices, {name}.train.inter, {name}.valid.inter and {name}.test.inter its
parts: to keep this split, set benchmark_filename: [train, valid, test].
{name}.item holds title, caption and category of each item, row by row.
{features}"""


def write_recbole(dataset: Dataset, folder: str | Path) -> None:
    """Write ``<name>.inter`` (and its parts by split), ``<name>.item``, features and a README, atomically.

    ``<name>`` is the folder's name, as RecBole requires (``data_path`` its parent, ``dataset`` its name).
    Features of a modality are ``<name>.<modality>.npy`` (n, d) float32, in the order of the item file, since
    RecBole reads them slowly as text. Tabs and line breaks in texts become spaces. Raises SettingError for an
    id that contains such a character.
    """
    folder = Path(folder)
    name, catalog = folder.absolute().name, dataset.catalog
    with atomic(folder) as place:
        place.mkdir(parents=True)
        choices = _choices(dataset)
        _write(choices, place / f"{name}.inter")
        for split in SPLITS:
            _write(choices[dataset.interactions.split == split], place / f"{name}.{split}.inter")
        _write(_items(dataset), place / f"{name}.item")
        for modality, x in catalog.features.items():
            with (place / f"{name}.{modality}.npy").open("wb") as f:
                np.save(f, x, allow_pickle=False)
        beside = [
            f"{name}.{m}.npy {x.shape}: row k is item k of the item file."
            for m, x in catalog.features.items()
        ]
        text = _README.format(name=name, features="\n".join([*beside, ""]) if beside else "")
        (place / "README.md").write_text(text, encoding="utf-8")


def _choices(dataset: Dataset) -> pd.DataFrame:
    import pandas as pd

    chosen = dataset.interactions
    return pd.DataFrame(
        {
            "user_id:token": _tokens(chosen.user_ids)[chosen.user],
            "item_id:token": _tokens(dataset.catalog.item_ids)[chosen.item],
            "rating:float": chosen.weight,
            "timestamp:float": chosen.time,
        }
    )


def _items(dataset: Dataset) -> pd.DataFrame:
    import pandas as pd

    catalog = dataset.catalog
    texts = {"title": catalog.titles, "caption": catalog.captions, "category": catalog.categories}
    columns = {"item_id:token": _tokens(catalog.item_ids)}
    for column, values in texts.items():
        columns[f"{column}:token_seq"] = pd.Series(values).str.split().str.join(" ").to_numpy(dtype=str)
    return pd.DataFrame(columns)


def _tokens(ids: np.ndarray) -> np.ndarray:
    """Check that ``ids`` (n,) contain no tab or line break and are not read as missing by pandas."""
    bad = np.array([any(c in value for c in "\t\r\n") for value in ids.tolist()], dtype=bool)
    if bad.any():
        raise SettingError(f"an id must hold no tab or line break, got {str(ids[bad.argmax()])!r}. Rename it")
    missing = np.isin(ids, _MISSING)
    if missing.any():
        raise SettingError(f"RecBole reads the id {str(ids[missing.argmax()])!r} as missing. Rename it")
    return ids


def _write(frame: pd.DataFrame, file: Path) -> None:
    """Write a table; fields that begin with a quote are quoted, because RecBole reads with pandas."""
    frame.to_csv(file, sep="\t", index=False)
