"""RecBole's atomic files: ``NAME.inter``, ``NAME.item`` and ``NAME.user``, with images beside them.

NAME is the folder's, or that of the only ``.inter`` file. Parts by split (``NAME.train.inter``,
``NAME.valid.inter``, ``NAME.test.inter``) are read instead of the whole, and define the split. Only the ids
of users are used: ``NAME.user`` is counted and otherwise ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np

from recsim_gen.datasets.tables.columns import LOG_ROLES, assign
from recsim_gen.datasets.tables.folder import Folder
from recsim_gen.datasets.tables.layouts import missing
from recsim_gen.datasets.tables.log import split_named
from recsim_gen.datasets.tables.sources import Source, TextSource


@dataclass(frozen=True)
class RecboleFolder(Folder):
    """Settings of ``recbole:DIR``."""

    name: ClassVar[str] = "recbole"

    @cached_property
    def stem(self) -> str:
        """Common name of the files. Raises DataError if there are none, or it is ambiguous."""
        names = {path.name.split(".")[0] for path in self.path.glob("*.inter")}
        own = self.path.resolve().name
        if own in names or len(names) == 1:
            return own if own in names else next(iter(names))
        looked_for = f"{own}.inter or another single *.inter"
        raise missing(self.name, self.path, "a table of choices", looked_for)

    def items_table(self) -> Source | None:
        """Return ``NAME.item``; None if it does not exist."""
        file = self.path / f"{self.stem}.item"
        return _source(file) if file.is_file() else None

    def log_tables(self) -> Mapping[str, Source]:
        """Return the parts by split, else ``NAME.inter``."""
        parts = {}
        for path in sorted(self.path.glob(f"{self.stem}.*.inter")):
            split = split_named(path.name.removeprefix(f"{self.stem}.").removesuffix(".inter"))
            if split is not None:
                parts[split] = _source(path)
        whole = self.path / f"{self.stem}.inter"
        if len(parts) > 1 or not whole.is_file():
            return parts
        return {"": _source(whole)}

    def people(self, chose: np.ndarray) -> tuple[tuple[str, ...], tuple[Path, ...]]:
        """Return the number of people in ``NAME.user``, who may differ from those who ``chose`` (p,)."""
        file = self.path / f"{self.stem}.user"
        if not file.is_file():
            return (), ()
        source = _source(file)
        column = assign(source.header, {"user": LOG_ROLES["user"]}, {"user": self.user_column}, file)["user"]
        people = source.read(ids=[column]).keys(column)
        idle = int((~np.isin(people, chose)).sum())
        aside = ", ".join(name for name in source.header if name != column)
        rest = f"; left aside: {aside}" if aside else ""
        return (f"{file.name}: {len(people):,} people, {idle:,} of them without a choice{rest}",), (file,)


def _source(file: Path) -> TextSource:
    return TextSource(file, "\t")
