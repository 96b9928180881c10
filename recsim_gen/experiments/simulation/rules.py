"""Rules of the shop: number of visits, what people see, and the assignment to arms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from recsim_gen.core.errors import SettingError

Assignment = Literal["paired", "split"]


@dataclass(frozen=True)
class Rules:
    """Rules of the simulation.

    Parameters
    ----------
    rounds
        Number of visits of each person.
    length
        Number of items in a list.
    personal
        Number of places, from the top, that show the arm's images; the others show the items' own.
    explore
        Share of visits of the first round in which the arm whose images are shown is random: all arms have
        the same lists then, so every arm's images are seen in the same context.
    assignment
        ``paired``: everybody is in every arm, with the same random numbers; ``split``: each person is in one
        random arm, as in a real test.
    people
        Number of people who visit: a random sample that is the same in every round, arm and seed; 0 is
        everybody. The time of a simulation is mainly that of drawing their images.
    """

    rounds: int = 5
    length: int = 10
    personal: int = 1
    explore: float = 0.2
    assignment: Assignment = "paired"
    people: int = 0

    def __post_init__(self) -> None:
        for name in ("rounds", "length"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name} must be 1 or more, got {getattr(self, name)}")
        if self.people < 0 or self.people == 1:
            raise SettingError(f"people must be 0 (everybody) or 2 or more, got {self.people}")
        if not 0 <= self.personal <= self.length:
            raise SettingError(f"personal must be 0 to the list's length {self.length}, got {self.personal}")
        if not 0 <= self.explore <= 1:
            raise SettingError(f"explore is a share of visits, 0 to 1, got {self.explore:g}")
