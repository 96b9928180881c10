"""How good is each part of a family's GLIDE? Read by the family's attribute reader, on looks held out.

    python tests/benchmarks/glide_quality.py --models embedded --prompts 300
    python tests/benchmarks/glide_quality.py --split valid --guidance 1 2 3

``real`` are the shop's own pictures, ``real small`` the same at the base's size and enlarged bilinearly (what
a base could give at best under that control), ``real upsampled`` by the learned upsampler; ``base`` are the
base's pictures enlarged bilinearly, ``drawn`` by the upsampler: what ``glide`` draws. Guidance is chosen on
valid.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence

import pandas as pd
import torch
import torch.nn.functional as F

from recsim_gen.core.randomness import Rng
from recsim_gen.core.statistics import bootstrap_columns
from recsim_gen.datasets.opening import open_data
from recsim_gen.models.attribute_reader import ATTRIBUTES
from recsim_gen.models.family import ModelFamily, open_family
from recsim_gen.models.glide.sampling import enlarge, quantised
from recsim_gen.pretraining.source import PretrainingSource, open_source

BATCH = 50
PARTS = ("real", "real small", "real upsampled", "base", "drawn")


def pictures(
    family: ModelFamily, source: PretrainingSource, rows: Sequence[int], guidance: float
) -> Iterator[dict[str, torch.Tensor]]:
    """By part: pictures (B, 3, s, s) in [0, 1], a batch of rows at a time."""
    from dataclasses import replace

    glide = family.glide()
    glide.config = replace(glide.config, guidance=guidance)
    size, small_size = glide.config.upsampler.image_size, glide.config.base.image_size
    for start in range(0, len(rows), BATCH):
        part = rows[start : start + BATCH]
        texts = [source.captions[row] for row in part]
        noise = [Rng(0).for_("noise", start + k) for k in range(len(part))]
        real = 2 * source.pixels(part) - 1
        real_small = quantised(F.avg_pool2d(real, size // small_size))
        small = quantised(glide.small(texts, noise))
        made = (
            real,
            enlarge(real_small, size),
            glide.enlarged(real_small, texts, noise),
            enlarge(small, size),
            glide.enlarged(small, texts, noise),
        )
        yield {name: (x / 2 + 0.5).clamp(0, 1) for name, x in zip(PARTS, made, strict=True)}


def main() -> None:
    """Print a table: a row for each part, a column for each attribute."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", default="embedded")
    parser.add_argument("--split", choices=("test", "valid"), default="test")
    parser.add_argument("--prompts", type=int, default=300)
    parser.add_argument("--guidance", type=float, nargs="*", help="default: the model's own")
    options = parser.parse_args()
    family = open_family(options.models)
    source = open_source(open_data("boutique"), renders=1, rng=Rng(0).for_("measuring"))
    assert source.attributes is not None
    rows = source.rows(options.split)[: options.prompts]
    table = []
    for guidance in options.guidance or [family.glide().config.guidance]:
        start = time.process_time()
        batches = [*pictures(family, source, rows, guidance)]
        print(
            f"guidance {guidance:g}: {(time.process_time() - start) / len(rows):.2f} CPU s a look, all parts"
        )
        for name in PARTS:
            read = family.verifier().read(torch.cat([batch[name] for batch in batches])).codes
            right = (read == source.attributes[rows]).astype(float)
            values = bootstrap_columns(right, rows, Rng(0))
            shown = {
                a: f"{e.value:.3f} [{e.low:.3f}, {e.high:.3f}]"
                for a, e in zip(ATTRIBUTES, values, strict=True)
            }
            table.append({"guidance": guidance, "pictures": name, **shown})
    print(pd.DataFrame(table).to_markdown(index=False))


if __name__ == "__main__":
    main()
