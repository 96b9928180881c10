"""Arms of the test: the image that each person sees of an item, and what it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.store import fingerprint
from recsim_gen.core.types import Episode
from recsim_gen.experiments.auxiliary.drawing import drawn_images
from recsim_gen.experiments.auxiliary.features import ORIGINAL, PLACEBO, SHUFFLED
from recsim_gen.experiments.methods import Method, check_settings, read_methods

if TYPE_CHECKING:
    from recsim_gen.core.protocols import Generator
    from recsim_gen.core.types import Dataset
    from recsim_gen.experiments.simulation.world import World
    from recsim_gen.models.family import ModelFamily

AGAIN = "aa"
AT_ONCE = 256  # images in memory at once


@dataclass(frozen=True)
class Arm:
    """One arm: ``label``, and the ``method`` whose images are shown, None for the items' own.

    ``others``: show the images drawn for another person. ``chance`` names the random numbers of its people;
    arms with the same name share them.
    """

    label: str
    method: Method | None = None
    others: bool = False
    chance: str = ""


def read_arms(words: Sequence[str], checkpoints: Sequence[str], family: ModelFamily) -> list[Arm]:
    """Return the arms; ``original`` is always included and comes first.

    ``aa`` repeats the original with its own random numbers, which shows the effect of chance alone.
    ``shuffled`` shows the images of the first generator to other people; those of the placebo, which are the
    same for everybody, only if there is no other. All other arms are parsed by `read_methods`. Raises
    SettingError as that does, for a repeated arm, and for ``shuffled`` without a generator.
    """
    parts = [part for text in words for part in text.split(",") if part]
    own = [part for part in parts if part in (AGAIN, SHUFFLED)]
    named = [part for part in parts if part not in (ORIGINAL, AGAIN, SHUFFLED)]
    methods = read_methods([",".join(named)], checkpoints) if named or checkpoints else []
    check_settings(methods, family)
    if len(set(own)) < len(own):
        raise SettingError(f"give each arm once, got {' '.join(own)}")
    arms = [Arm(ORIGINAL), *(Arm(method.label, method) for method in methods)]
    ranked = sorted(methods, key=lambda method: method.generator == PLACEBO)
    for control in own:
        if control == AGAIN:
            arms.append(Arm(AGAIN, chance=AGAIN))
        elif ranked:
            arms.append(Arm(SHUFFLED, ranked[0], others=True))
        else:
            raise SettingError("shuffled shows a generator's pictures to other people: name one among --arms")
    return arms


class Showroom:
    """Looks of images drawn for (person, item); each image is drawn and read once.

    Images are drawn from the person's choices before the test (train and valid), so the same image serves
    every round, arm and seed in which the person sees the item at a personal place.
    """

    def __init__(
        self, generators: Mapping[str, Generator], dataset: Dataset, world: World, *, seed: int
    ) -> None:
        self._generators, self._dataset, self._world, self._seed = generators, dataset, world, seed
        self._read: dict[str, dict[tuple[int, int], np.ndarray]] = {label: {} for label in generators}

    @cached_property
    def _history(self) -> dict[int, Episode]:
        return {episode.user: episode for episode in self._dataset.episodes}

    @cached_property
    def _somebody_else(self) -> np.ndarray:
        """(n_users,) another visitor for each visitor: a random cycle through all."""
        visitors = Rng(0).for_("shuffled").numpy().permutation(visitors_of(self._dataset))
        other = np.full(self._dataset.interactions.n_users, -1)
        other[visitors] = np.roll(visitors, 1)
        return other

    def fingerprint(self, arm: Arm) -> str:
        """Return a hash of all images that this arm can show."""
        if arm.method is None:
            return ORIGINAL
        made = self._generators[arm.method.label].fingerprint
        return fingerprint(made, arm.others, self._world.fingerprint, self._seed)

    def looks(self, arm: Arm, people: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Return (B, k) the looks of items (B,) shown to people (B,) in this arm."""
        if arm.method is None or not len(people):
            return self._world.looks(items)
        drawn_for = self._somebody_else[people] if arm.others else people
        pairs = list(zip(drawn_for.tolist(), items.tolist(), strict=True))
        looks_read = self._read[arm.method.label]
        if new := sorted({pair for pair in pairs if pair not in looks_read}):
            looks_read.update(zip(new, self._drawn(arm.method.label, new), strict=True))
        return np.stack([looks_read[pair] for pair in pairs])

    def _drawn(self, label: str, pairs: Sequence[tuple[int, int]]) -> np.ndarray:
        """Return (B, k) the looks of a generator's images for these (person, item); draw missing ones."""
        episodes = [self._episode(*pair) for pair in pairs]
        images = drawn_images(self._generators[label], self._dataset, episodes, seed=self._seed)
        users, items = np.array(pairs).T
        rows = images.find(users, items).tolist()
        if min(rows) < 0:
            raise DataError(f"{label}: pictures of all {len(pairs):,} (person, item) are wanted, some lack")
        parts = [
            self._world.read([images.reader.read(row) for row in rows[start : start + AT_ONCE]])
            for start in range(0, len(rows), AT_ONCE)
        ]
        return np.concatenate(parts)

    def _episode(self, user: int, item: int) -> Episode:
        before = self._history[user]
        name, shown = self._dataset.interactions.user_ids[user], self._dataset.catalog.item_ids[item]
        history = tuple(
            row for row in before.history if row != item
        )  # with shuffled, the other person may have chosen it
        return Episode(f"{name}#shown-{shown}", user, before.source_user, history, item)


def visitors_of(dataset: Dataset) -> np.ndarray:
    """Return (P,) rows of the users with a history and a test choice: they visit the shop."""
    return np.unique([episode.user for episode in dataset.episodes]).astype(np.int64)
