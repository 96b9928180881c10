"""Notes on what the auxiliary experiment can and cannot show."""

from __future__ import annotations

WORLDS = {
    "own": (
        "world own: people chose by the items' own pictures, which explain the choices best. A drop says "
        "what other pictures lose of that; whether people would like them cannot show here (--world shown)"
    ),
    "shown": (
        "world shown: people chose again, by the pictures that the shop showed. The rankers of one log "
        "differ by the pictures that they learn from, shown ones or the items' own: either can come out ahead"
    ),
}
"""Note on each world of ``aux_rec --world``."""

TRUTH = (
    "known truth: oracle reads the tastes that the simulator knows, under strict too, as no generator of "
    "real pictures can; sd draws an item's caption, for no particular user"
)


def same_items(count: int) -> str:
    """Return the note that two policies replace the same items, of ``count`` that both can."""
    return (
        f"both policies replace the same items, of the {count:,} that both can: each is a test choice, "
        "which its replacement reveals to the ranker under both; noise and shuffled show how much"
    )
