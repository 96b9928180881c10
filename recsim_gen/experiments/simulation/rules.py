"""Rules of the shop: how often people come, what they are shown, and who is in which arm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from recsim_gen.core.errors import SettingError

Assignment = Literal["paired", "split"]


@dataclass(frozen=True)
class Rules:
    """How the shop is run.

    Parameters
    ----------
    rounds
        How often everybody visits.
    length
        Items of a list.
    personal
        Places, from the top, at which the arm's pictures stand; the others show the items' own.
    explore
        Share of the first round's visits in which chance decides among all arms whose pictures are shown:
        all arms make the same lists then, so that every arm's picture answers the same question.
    assignment
        ``paired``: everybody lives in every arm, with the same random numbers; ``split``: each person is
        in one arm, by lot, as in life.
    people
        How many people visit: the same random ones in every round, arm and seed; 0 is everybody. The time
        of a simulation is that of the pictures they are shown.
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
