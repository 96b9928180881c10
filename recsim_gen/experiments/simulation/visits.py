"""Visits: what everybody saw and did in one round of one arm, as stored."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np

from recsim_gen.core.errors import DataError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.store import atomic
from recsim_gen.experiments.simulation.choice import NOTHING, ChoiceModel


@dataclass(frozen=True, eq=False)
class Visits:
    """P people's visits of one round: the log of the shop, and information that only the simulator has.

    Parameters
    ----------
    people
        (P,) rows of the users.
    lists, scores
        (P, L) item rows, best first, and the ranker's scores of them.
    shown
        (P,) number of the arm whose images were at the personal places.
    propensity
        (P,) probability with which this arm showed them.
    explored
        (P,) bool: the image was randomised, not chosen by the arm.
    place
        (P,) place of the chosen item in the list, `choice.NOTHING` for nothing.
    seen, own
        (P,) utility of the chosen item as shown, and of the item itself; NaN for nothing.
    returned
        (P,) bool: the item itself is sent back (`ChoiceModel.returned`).
    first_look
        (P, k) the look at the first place, as shown.
    recall
        (P,) recall of the round's ranker on the test choices; NaN for people without any.
    """

    people: np.ndarray
    lists: np.ndarray
    scores: np.ndarray
    shown: np.ndarray
    propensity: np.ndarray
    explored: np.ndarray
    place: np.ndarray
    seen: np.ndarray
    own: np.ndarray
    returned: np.ndarray
    first_look: np.ndarray
    recall: np.ndarray

    @property
    def chose(self) -> np.ndarray:
        """(P,) bool: chose something."""
        return self.place != NOTHING

    @property
    def choices(self) -> tuple[np.ndarray, np.ndarray]:
        """Return (user, item) rows (m,) of all choices."""
        taken = np.flatnonzero(self.chose)
        return self.people[taken], self.lists[taken, self.place[taken]]

    def write(self, path: Path) -> None:
        """Write the file, atomically."""
        with atomic(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **{f.name: getattr(self, f.name) for f in fields(self)})

    @classmethod
    def read(cls, path: Path) -> Visits:
        """Read what `write` wrote. Raises DataError (file, remedy) for anything else."""
        try:
            with np.load(path, allow_pickle=False) as kept:
                return cls(**{f.name: kept[f.name] for f in fields(cls)})
        except (ValueError, EOFError, OSError, KeyError, BadZipFile) as error:
            raise DataError(
                f"must be a stored round, got a broken file ({error})",
                file=path,
                remedy="Delete it; the round will be played again when needed",
            ) from error


class Shown(NamedTuple):
    """What P people are shown: lists (P, L), and their ``seen`` and ``own`` utilities (P, L)."""

    lists: np.ndarray
    seen: np.ndarray
    own: np.ndarray


class Taken(NamedTuple):
    """What P people chose: columns of `Visits` with these names."""

    place: np.ndarray
    seen: np.ndarray
    own: np.ndarray
    returned: np.ndarray


def visit(shown: Shown, model: ChoiceModel, rng: Rng, *, people: np.ndarray, n_users: int) -> Taken:
    """Let ``people`` (P,) rows choose from what they are shown.

    Noise is drawn for all ``n_users`` users and all places from ``rng``, so that a person has the same noise
    in every arm, whoever else visits.
    """
    noise = rng.numpy().gumbel(size=(n_users, shown.lists.shape[1] + 1))[people]
    place = model.choose(shown.seen, noise)
    row, at = np.arange(len(place)), np.maximum(place, 0)
    chose = place != NOTHING
    seen, own = (np.where(chose, x[row, at], np.nan) for x in (shown.seen, shown.own))
    returned = chose & model.returned(shown.own[row, at], noise[row, at], noise[:, -1])
    return Taken(place, seen, own, returned)
