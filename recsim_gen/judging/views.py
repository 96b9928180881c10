"""The queries of a judgement as judges see them: encoded by one image encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from recsim_gen.datasets.image_sets import ImageSet
from recsim_gen.judging.judges import Judge
from recsim_gen.judging.queries import MODALITY, Triples, triples_of
from recsim_gen.judging.variants import Variant, placebo_of, variants_of

if TYPE_CHECKING:
    from recsim_gen.core.types import Catalog, Dataset


@dataclass(frozen=True, eq=False)
class View:
    """The same queries, encoded for all judges that share one encoder."""

    judges: tuple[Judge, ...]
    triples: Triples
    variants: Mapping[str, list[Variant]]

    @property
    def catalog(self) -> Catalog:
        """The items, encoded."""
        return self.judges[0].catalog

    @property
    def encoder(self) -> str:
        """The image encoder; "" if the catalogue does not record it."""
        return self.catalog.encoders.get(MODALITY, "")


def views_of(
    judges: Sequence[Judge],
    images: ImageSet | Triples,
    placebo: ImageSet | None,
    dataset: Dataset,
    *,
    users: Sequence[str] | None,
    seeds: Sequence[int],
    device: str,
) -> list[View]:
    """Return one view per image encoder of the judges, that of the first judge first.

    Parameters are those of `judging.judge`. Raises DataError for features made by another encoder.
    """
    views = []
    for group in _by_encoder(judges):
        catalog, triples, other = group[0].catalog, images, None
        if isinstance(triples, ImageSet):
            triples = triples_of(triples, dataset, catalog, users=users, device=device)
        triples.check(dataset, catalog)
        other = (
            None if placebo is None else placebo_of(triples, placebo, catalog.encoder_of(MODALITY), device)
        )
        views.append(View(group, triples, variants_of(triples, catalog, seeds, other)))
    return views


def _by_encoder(judges: Sequence[Judge]) -> list[tuple[Judge, ...]]:
    """Return the judges grouped by image encoder."""
    groups: dict[str | None, list[Judge]] = {}
    for one in judges:
        groups.setdefault(one.catalog.encoders.get(MODALITY), []).append(one)
    return [tuple(group) for group in groups.values()]
