"""Data by name, its items encoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recsim_gen.core.errors import DataError
from recsim_gen.core.specs import DataSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsim_gen.core.types import Catalog, Dataset


@dataclass(frozen=True, eq=False, repr=False)
class Data:
    """A data set and its catalogue as rankers see it.

    Parameters
    ----------
    spec
        What it was opened by.
    dataset
        Catalogue without features, interactions and test episodes.
    catalog
        The same items with a table of features a modality.
    device
        Where models run on it.
    """

    spec: DataSpec
    dataset: Dataset
    catalog: Catalog
    device: str

    def __repr__(self) -> str:
        """Name and sizes."""
        chosen = self.dataset.interactions
        sizes = f"{len(self.catalog):,} items, {chosen.n_users:,} users, {len(chosen):,} choices"
        return f"Data({self.spec}: {sizes})"

    def users(self, ids: Sequence[str]) -> NDArray[Any]:
        """(B,) rows of the users with these ids. Raises DataError for one that is not there."""
        return _rows(ids, self.dataset.interactions.user_ids, "user")

    def items(self, ids: Sequence[str]) -> NDArray[Any]:
        """(B,) rows of the items with these ids. Raises DataError for one that is not there."""
        return _rows(ids, self.catalog.item_ids, "item")


def load_data(
    name: str = "boutique",
    *,
    encoders: Mapping[str, str] | None = None,
    device: str = "auto",
    **settings: Any,
) -> Data:
    """Open data and encode its items; features are kept, so that the second time is quick.

    Parameters
    ----------
    name
        As of ``--data``: boutique, csv:DIR, recbole:DIR, hf:DIR, movielens:DIR, module:function, …
    encoders
        {modality: encoder} instead of the data's own, ``none`` to leave a modality out.
    device
        cpu, cuda, cuda:N; auto: cuda where there is one.
    settings
        Of the reader, as ``--data-settings.NAME``: ``split="by-ratio"``.

    Raises SettingError for an unknown name or setting, DataError for files that cannot be used.
    """
    from recsim_gen.artifacts.trained_rankers import chosen_encoders
    from recsim_gen.core.processes import device_of
    from recsim_gen.datasets.opening import open_data
    from recsim_gen.encoders.features import encode

    spec, place = DataSpec(name, settings), device_of(device)
    dataset = open_data(spec)
    return Data(spec, dataset, encode(dataset, chosen_encoders(dataset, encoders), device=place), place)


def _rows(ids: Sequence[str], known: NDArray[Any], what: str) -> NDArray[Any]:
    """Place of each id among those that are known."""
    import pandas as pd

    rows: NDArray[Any] = pd.Index(known).get_indexer(pd.Index(list(ids)))
    if (rows < 0).any():
        missing = list(ids)[int((rows < 0).argmax())]
        raise DataError(
            f"unknown {what} {missing!r}: ids are wanted as the data has them, such as {known[0]!r}"
        )
    return rows
