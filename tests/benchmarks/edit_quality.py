"""Are instructions followed, and how strong should an edit be? Boutique, read by the family's reader.

    python tests/benchmarks/edit_quality.py --split test --edits 300
    python tests/benchmarks/edit_quality.py --guidance 1 2 3 --image-guidance 1 1.5 2
    python tests/benchmarks/edit_quality.py --edits 0 --people 100

First table: pictures of looks that nothing was trained on, with an instruction of one to three changes. Met:
all that it asks for is read in the edited picture; kept: all else is read as before. `real` is the shop's own
picture after the edit, which the rest differs from by what SSIM says; `img2img` is the family's Stable
Diffusion from the picture before, told the whole look after, at several strengths.

Second table: people of the split. True liking of `edit`'s pictures at several strengths, less that of the
item as it is, and SSIM to its own picture. Strength 1 leaves nothing of it.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import torch
from lavit_quality import asked

from generators.editing.pairs import EditPairs, draw_pairs, keywords
from generators.images import image_of, to_pixels
from recsim_gen.artifacts.trained_generators import trained_generator
from recsim_gen.core.randomness import Rng
from recsim_gen.core.specs import GeneratorSpec
from recsim_gen.core.statistics import bootstrap
from recsim_gen.datasets.boutique import world as boutique
from recsim_gen.datasets.boutique.attributes import CATEGORIES
from recsim_gen.datasets.episodes import training_episodes
from recsim_gen.metrics.ssim import Structure
from recsim_gen.pretraining.source import looks_by_split

STRENGTHS = (0.2, 0.4, 0.6, 0.8, 1.0)


def in_batches(editor: Any, texts: list[str], images: torch.Tensor) -> torch.Tensor:
    """Each picture edited by its text."""
    noise, size = [Rng(0).for_("noise", k) for k in range(len(texts))], editor.family.batch
    parts = [slice(start, start + size) for start in range(0, len(texts), size)]
    return torch.cat([editor.edited(texts[part], images[part], noise[part]) for part in parts])


def similarity(pixels: torch.Tensor, others: torch.Tensor) -> np.ndarray:
    """(B,) SSIM of two sets of pictures, pair by pair."""
    structure, rows = Structure(), torch.arange(len(pixels))
    maps = structure.prepare(torch.cat([pixels, others]))
    return structure.compare(maps, rows, rows + len(pixels)).numpy()


def followed(name: str, pixels: torch.Tensor, pairs: EditPairs, editor: Any) -> dict[str, object]:
    """A row: shares of edits with their intervals."""
    codes = np.asarray(editor.family.verifier(device="cpu").read(pixels).codes)
    before, after = pairs.codes[:, 0], pairs.codes[:, 1]
    right, changed = codes == after, before != after
    met, kept = (right | ~changed).all(1), (right | changed).all(1)
    one = changed.sum(1) == 1
    columns = {"met": met, "kept": kept, "met and kept": met & kept}
    row: dict[str, object] = {"pictures": name}
    for column, values in columns.items():
        e = bootstrap(values.astype(float), np.arange(len(values)), Rng(0))
        row[column] = f"{e.value:.3f} [{e.low:.3f}, {e.high:.3f}]"
    row["of one change"] = round(float((met & kept)[one].mean()), 3)
    for place, attribute in enumerate(("main", "second", "pattern"), 1):
        row[f"{attribute} met"] = round(float(right[changed[:, place], place].mean()), 3)
    truth = torch.from_numpy(pairs.pictures[:, 1]).permute(0, 3, 1, 2) / 255
    return {**row, "SSIM": round(float(similarity(pixels, truth).mean()), 3)}


def instructions(editor: Any, plain: Any, options: argparse.Namespace) -> pd.DataFrame:
    """The first table."""
    looks = looks_by_split()
    among = np.concatenate([looks[options.split], looks["train"]])
    pairs = draw_pairs(looks[options.split], options.edits, Rng(0).for_("measuring"), kept=0.0, among=among)
    before, after = torch.from_numpy(pairs.pictures).permute(1, 0, 4, 2, 3).float() / 255
    rows = [followed("real", after, pairs, editor), followed("before", before, pairs, editor)]
    for strength in options.strengths:
        plain.config = replace(plain.config, strength=strength)
        texts = [", ".join([CATEGORIES[look[0]], *keywords(look)]) for look in pairs.codes[:, 1]]
        rows.append(followed(f"img2img {strength:g}", in_batches(plain, texts, before), pairs, editor))
    for guidance, image_guidance in product(options.guidance, options.image_guidance):
        editor.config = replace(editor.config, guidance=guidance, image_guidance=image_guidance)
        drawn = in_batches(editor, pairs.instructions, before)
        rows.append(followed(f"instruct_edit {guidance:g}, {image_guidance:g}", drawn, pairs, editor))
    return pd.DataFrame(rows)


def people(shop: boutique.Boutique, editors: dict[str, Any], options: argparse.Namespace) -> pd.DataFrame:
    """The second table; ``editors`` by the name of their rows, those with a strength at each."""
    episodes = asked(shop, options.split, options.people)
    users, items = (np.array([getattr(e, name) for e in episodes]) for name in ("user", "reference"))
    before = shop.utility(users, shop.world.codes[items])
    own = torch.stack([to_pixels(image_of(shop.catalog, item)) for item in items.tolist()])
    rows = []
    for name, made in editors.items():
        for strength in options.strengths if hasattr(made.config, "strength") else [None]:
            if strength is not None:
                made.config = replace(made.config, strength=strength)
            pixels = made.generate(episodes, rng=Rng(0)).pixels
            liked = shop.utility(users, np.asarray(made.family.verifier(device="cpu").read(pixels).codes))
            e = bootstrap(liked - before, users, Rng(0))
            rows.append(
                {
                    "pictures": name if strength is None else f"{name}, strength {strength:g}",
                    "true liking won": f"{e.value:.3f} [{e.low:.3f}, {e.high:.3f}]",
                    "SSIM": round(float(similarity(pixels, own).mean()), 3),
                }
            )
    return pd.DataFrame(rows)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--split", choices=("valid", "test"), default="valid")
    parser.add_argument("--edits", type=int, default=200)
    parser.add_argument("--people", type=int, default=0)
    parser.add_argument("--strengths", type=float, nargs="*", default=STRENGTHS)
    parser.add_argument("--guidance", type=float, nargs="*")
    parser.add_argument("--image-guidance", type=float, nargs="*")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="settings of instruct_edit")
    options = parser.parse_args()
    shop = boutique.load()
    known = {setting.name: setting for setting in GeneratorSpec("instruct_edit").known()}
    settings = {name: known[name].read(x, name) for name, _, x in (t.partition("=") for t in options.set)}
    made: dict[str, Any] = {
        label: trained_generator(spec, shop.catalog, training_episodes(shop))
        for label, spec in {
            "instruct_edit": GeneratorSpec("instruct_edit", settings),
            "edit, look by taste": GeneratorSpec("edit"),
            "edit, own caption": GeneratorSpec("edit", {"prompt": "caption"}),
        }.items()
    }
    editor = made["instruct_edit"]
    options.guidance = options.guidance or [editor.config.guidance]
    options.image_guidance = options.image_guidance or [editor.config.image_guidance]
    if options.edits:
        print(instructions(editor, made["edit, own caption"], options).to_markdown(index=False))
    if options.people:
        print(people(shop, made, options).to_markdown(index=False))


if __name__ == "__main__":
    main()
