"""Image pairs before and after an edit, with the instruction, drawn by Boutique's code.

Both images of a pair have the same pose, pattern phase and background, so that only the requested change is
visible; InstructPix2Pix's own training data uses Prompt-to-Prompt for this purpose.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from generators.editing import instructions
from recsim_gen.core.progress import bar
from recsim_gen.core.randomness import Rng
from recsim_gen.datasets.boutique.attributes import COLOURS, PATTERNS, Attributes
from recsim_gen.datasets.boutique.canvas import SIZE
from recsim_gen.datasets.boutique.drawing import render

VALUES = {1: len(COLOURS), 2: len(COLOURS), 3: len(PATTERNS)}  # number of values of each editable attribute
KEPT = 0.1  # share of pairs without a change


@dataclass(frozen=True, eq=False)
class EditPairs:
    """N edits.

    ``codes`` (N, 2, 4) looks before and after, with the same category; ``pictures`` (N, 2, s, s, 3) uint8;
    ``instructions`` N texts.
    """

    codes: np.ndarray
    pictures: np.ndarray
    instructions: list[str]


def draw_pairs(
    looks: np.ndarray, count: int, rng: Rng, *, kept: float = KEPT, among: np.ndarray | None = None
) -> EditPairs:
    """Draw ``count`` edits of ``looks`` (m, 4), uniformly, of one to three attributes.

    A share ``kept`` changes nothing. The results are looks ``among`` these (M, 4), default ``looks``. The
    number of changed attributes is also uniform, as far as looks allow. Images before and after an edit
    differ only in what was changed.
    """
    codes = edits(looks, looks if among is None else among, count, rng.for_("edits"), kept)
    pictures = np.empty((count, 2, SIZE, SIZE, 3), dtype=np.uint8)
    for k in bar(range(count), "drawing edits", unit="pair"):
        for side in (0, 1):
            pictures[k, side] = render(Attributes.of(codes[k, side]), rng.for_("picture", k))
    return EditPairs(codes, pictures, [instructions.look(keywords(after)) for _, after in codes])


def edits(looks: np.ndarray, among: np.ndarray, count: int, rng: Rng, kept: float) -> np.ndarray:
    """Return (count, 2, 4) looks before and after."""
    allowed, random = {tuple(look) for look in among.tolist()}, rng.numpy()
    pairs: list[tuple[list[int], list[int]]] = []
    while len(pairs) < count:
        before = looks[random.integers(len(looks))].tolist()
        changes = 0 if random.random() < kept else int(random.integers(1, len(VALUES) + 1))
        after = list(before)
        for place in random.permutation([*VALUES])[:changes].tolist():
            after[place] = (before[place] + int(random.integers(1, VALUES[place]))) % VALUES[place]
        if tuple(after) in allowed:
            pairs.append((before, after))
    return np.array(pairs)


def keywords(look: np.ndarray) -> list[str]:
    """Return main colour, second colour and pattern, in the words and order of an item's keywords."""
    shown = Attributes.of(look)
    return [shown.main, shown.second, shown.pattern]
