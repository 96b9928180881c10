"""How many of all scores are above a bar, and which are too near to it for float32 to tell.

On a CPU, comparing and counting scores takes longer than computing them unless they stay in its cache, numpy
compares them in long rows, and masks are added eight at once.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from rankers.sparse_rows import Ragged, above, ascending, true_at

BLOCK = 1024  # items per block: with some hundred users, a megabyte of scores
REPEATED = 64  # items in a row of comparisons: shorter rows take three times as long
WORD = 8  # masks added at once, the bytes of an integer


def count_above(
    users: Tensor, place: Tensor, high: Tensor, low: Tensor, items: Tensor
) -> tuple[Tensor, Ragged]:
    """Return how many scores are above ``high``, and the items with scores from ``low`` to ``high``.

    Scores are products of ``users[place]`` (B, D) and ``items`` (n, D), float32; ``high`` and ``low`` are (C,
    B). Returns (C, B) counts, and C·B lists of items.
    """
    (several, asked), lacking, n = high.shape, -len(place) % WORD, len(items)
    bars = torch.stack([high, low.nextafter(low.new_tensor(-torch.inf))])  # ≥ low: above the number before it
    bars = F.pad(bars, (0, lacking), value=torch.nan).repeat(1, 1, REPEATED).unsqueeze(2)
    place, width = F.pad(place, (0, lacking)), asked + lacking
    shared = 2 * len(users) <= asked  # scores of repeated users are computed once
    across = users.T.contiguous() if shared else users.T.index_select(1, place)
    held = across.new_full((BLOCK, across.shape[1]), torch.nan)
    masks = bars.new_empty(2, several, BLOCK // REPEATED, bars.shape[3], dtype=torch.bool)
    words = masks.view(torch.int64).view(2, several, BLOCK, -1)
    counts, close = high.new_zeros(several, width, dtype=torch.long), list[Tensor]()
    for number, start in enumerate(range(0, n, BLOCK)):
        part = items[start : start + BLOCK]
        torch.mm(part, across, out=held[: len(part)])
        held[len(part) :] = torch.nan
        scores = held.index_select(1, place) if shared else held
        above(scores.view(masks.shape[2:]), bars, masks)
        counts += _counted(words[0])
        close.append(true_at(words[1].bitwise_xor_(words[0]).view(torch.bool)) + number * masks[0].numel())
    at = torch.cat(close)
    which = at // (BLOCK * width) % several * asked + at % width
    item = at // masks[0].numel() * BLOCK + at // width % BLOCK
    return counts[:, :asked].double(), Ragged.of(ascending(which * n + item), high.numel(), n)


def _counted(words: Tensor) -> Tensor:
    """Return (C, B) sums over items of masks (C, `BLOCK`, B) in ``words``; bytes do not overflow."""
    sums = words.unflatten(1, (REPEATED, -1)).sum(1)
    return sums.view(torch.uint8).sum(1)
