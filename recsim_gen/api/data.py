"""Load a data set by name and encode its items."""

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
    """A data set together with its encoded catalogue.

    Parameters
    ----------
    spec
        Name and settings that the data set was loaded with.
    dataset
        Catalogue without features, interactions and test episodes.
    catalog
        The same items with one feature table per modality.
    device
        Device that models run on.
    """

    spec: DataSpec
    dataset: Dataset
    catalog: Catalog
    device: str

    def __repr__(self) -> str:
        """Return the name of the data set and its size."""
        chosen = self.dataset.interactions
        sizes = f"{len(self.catalog):,} items, {chosen.n_users:,} users, {len(chosen):,} choices"
        return f"Data({self.spec}: {sizes})"

    def users(self, ids: Sequence[str]) -> NDArray[Any]:
        """Return the user rows of these user ids.

        Parameters
        ----------
        ids
            (B,) user ids as the data set has them.

        Returns
        -------
        NDArray
            (B,) integer rows.

        Raises
        ------
        DataError
            If an id is unknown.
        """
        return _rows(ids, self.dataset.interactions.user_ids, "user")

    def items(self, ids: Sequence[str]) -> NDArray[Any]:
        """Return the item rows of these item ids.

        Parameters
        ----------
        ids
            (B,) item ids as the data set has them.

        Returns
        -------
        NDArray
            (B,) integer rows.

        Raises
        ------
        DataError
            If an id is unknown.
        """
        return _rows(ids, self.catalog.item_ids, "item")


def load_data(
    name: str = "boutique",
    *,
    encoders: Mapping[str, str] | None = None,
    device: str = "auto",
    **settings: Any,
) -> Data:
    """Load a data set and encode its items; the features are cached, so the second call is fast.

    Parameters
    ----------
    name
        Name as for ``--data``: boutique, csv:DIR, recbole:DIR, hf:DIR, movielens:DIR, module:function, …
    encoders
        {modality: encoder} that replaces the data set's own encoders; ``none`` leaves a modality out.
    device
        cpu, cuda or cuda:N; auto uses cuda if there is one.
    settings
        Settings of the reader, as for ``--data-settings.NAME``: ``split="by-ratio"``.

    Returns
    -------
    Data
        The data set and its encoded catalogue.

    Raises
    ------
    SettingError
        If the name or a setting is unknown.
    DataError
        If the files cannot be used.
    """
    from recsim_gen.artifacts.trained_rankers import chosen_encoders
    from recsim_gen.core.processes import device_of
    from recsim_gen.datasets.opening import open_data
    from recsim_gen.encoders.features import encode

    spec, place = DataSpec(name, settings), device_of(device)
    dataset = open_data(spec)
    return Data(spec, dataset, encode(dataset, chosen_encoders(dataset, encoders), device=place), place)


def _rows(ids: Sequence[str], known: NDArray[Any], what: str) -> NDArray[Any]:
    """Return the position of each id in ``known``."""
    import pandas as pd

    rows: NDArray[Any] = pd.Index(known).get_indexer(pd.Index(list(ids)))
    if (rows < 0).any():
        missing = list(ids)[int((rows < 0).argmax())]
        example = str(known[0])
        raise DataError(
            f"unknown {what} {str(missing)!r}: give ids as the data has them, such as {example!r}"
        )
    return rows
