"""Judges images from any source: ΔR under several rankers, with controls and guards.

Variants besides ``images``: ``placebo``, another real image of the item; ``noise``, a random feature with the
catalogue's mean, spread and length; ``shuffled``, another item's image; ``own``, the item's own image, which
must give exactly 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from recsim_gen.core.errors import SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.results import Results
from recsim_gen.core.table import table
from recsim_gen.core.types import Scope
from recsim_gen.datasets.image_sets import ImageSet, read_images
from recsim_gen.judging.guards import Guard, add_guard
from recsim_gen.judging.judged_guards import (
    NamedGuard,
    control_guards,
    copies_among,
    feature_guards,
    headroom,
    swap_tests,
)
from recsim_gen.judging.judges import Judge
from recsim_gen.judging.queries import MODALITY, Triples
from recsim_gen.judging.samples import add_rows, collect, over_seeds
from recsim_gen.judging.views import View, views_of
from recsim_gen.metrics.delta_rank import METRICS

if TYPE_CHECKING:
    from recsim_gen.core.types import Catalog, Dataset

Images = str | Path | ImageSet | Triples


@dataclass(frozen=True, eq=False)
class Judgement:
    """Results of `judge`.

    Parameters
    ----------
    results
        All rows and verdicts.
    samples
        One row per judge, variant and triple, with ``judge``, ``variant``, ``triple`` (position), ``user``,
        ``item``, ``person`` and `samples.NUMBERS`, averaged over a judge's seeds and a control's draws.
    guards
        In the order of the verdicts.
    """

    results: Results
    samples: pd.DataFrame = field(repr=False)
    guards: tuple[Guard, ...]

    def __str__(self) -> str:
        """Return a table of ΔR and ΔMRR, and one line per guard."""
        lines = [f"{name}: {text}" for name, text in self.results.verdicts.items()]
        return "\n".join([table(self.results, metrics=METRICS), "", *lines])


def check_numbers(seeds: Sequence[int], candidates: int, headroom_pairs: int, swap_choices: int) -> None:
    """Raise SettingError for numbers that `judge` cannot use."""
    if not seeds or candidates < 1 or headroom_pairs < 0 or swap_choices < 0:
        raise SettingError(
            "judging needs a seed, a candidate and 0 or more headroom pairs and swap choices, got "
            f"{len(seeds)}, {candidates}, {headroom_pairs} and {swap_choices}"
        )


def judge(
    dataset: Dataset,
    judges: Sequence[Judge],
    images: Images,
    *,
    placebo: str | Path | ImageSet | None = None,
    users: Sequence[str] | None = None,
    scope: Scope = "graph",
    seeds: Sequence[int] = (0,),
    candidates: int = 40,
    headroom_pairs: int = 300,
    swap_choices: int = 300,
    verify: int = 0,
    device: str = "cpu",
    results: Results | None = None,
) -> Judgement:
    """Return ΔR, ΔMRR and share improved of images and controls under each judge, and all guards.

    Parameters
    ----------
    dataset
        The data that the rankers were trained on.
    judges
        Trained judges. If one gave the reward, it comes first. Seeds of one name are averaged per triple, and
        each also has its own rows. Images are encoded for each judge by the encoder of its catalogue.
    images
        Folder or tar (`image_sets`), or triples whose features were made by the judges' single encoder.
    placebo
        Folder or tar of other real images of the items; items without one are left out of the placebo.
    users
        User ids to judge images without a user for; default: the users whose test reference is the item.
    scope
        graph: exact; item: only the features of the item itself change.
    seeds
        Seeds of the noise and of the shuffling, averaged per triple.
    candidates, headroom_pairs
        Headroom: number of random catalogue images to try, and of randomly sampled pairs; 0 pairs: no
        headroom.
    swap_choices
        Swap test: number of random test choices; 0: no swap test.
    verify
        Number of triples to compare with the ranker's slow `rebuild`.
    device
        Device of the encoder.
    results
        Results to add to; default: new ones.

    Returns
    -------
    Judgement
        Results, samples and guards.

    Raises
    ------
    DataError
        If images, features or ids cannot be used.
    SettingError
        If a setting is out of range.
    """
    check_numbers(seeds, candidates, headroom_pairs, swap_choices)
    _check(judges)
    results = results or Results("judge", {"scope": scope, "seeds": [*seeds]})
    if not isinstance(images, (ImageSet, Triples)):
        images = read_images(images, dataset)
    copied: list[NamedGuard] = []
    if isinstance(images, ImageSet):
        _note_images("images", images, results)
        copied = copies_among(images, judges[0].catalog)
    if placebo is not None and not isinstance(placebo, ImageSet):
        placebo = read_images(placebo, dataset)
    if placebo is not None:
        _note_images("placebo", placebo, results)
        _note_copies("placebo", placebo, judges[0].catalog, results)
    views = views_of(judges, images, placebo, dataset, users=users, seeds=seeds, device=device)
    _note_placebo(views[0], results)
    samples = pd.concat(
        [collect(view.judges, view.triples, view.variants, scope, dataset) for view in views],
        ignore_index=True,
    )
    add_rows(samples, scope, results)
    named_guards = control_guards(samples)
    for view in views:
        named_guards += [
            *headroom(view, scope, candidates, headroom_pairs),
            *swap_tests(view, dataset, swap_choices),
            *feature_guards(view, None if len(views) == 1 else view.encoder),
        ]
    named_guards += copied
    for name, guard in named_guards:
        add_guard(guard, name, results, variant="images")
    if verify:
        for view in views:
            _verify(view, verify, results)
    return Judgement(results, over_seeds(samples), tuple(guard for _, guard in named_guards))


def _check(judges: Sequence[Judge]) -> None:
    """Raise SettingError unless there are judges, none of them twice, and all use images."""
    if not judges:
        raise SettingError("judging needs a judge, got none")
    labels = [one.label for one in judges]
    if len(set(labels)) < len(labels):
        raise SettingError(f"each judge must be given once, got {', '.join(labels)}")
    for one in judges:
        if MODALITY not in one.catalog.features:
            has = sorted(one.catalog.features)
            raise SettingError(f"judging needs image features, but {one.label} uses features of {has}")


def _note_images(name: str, images: ImageSet, results: Results) -> None:
    """Add the fingerprint and the notes of an image set to the results."""
    results.fingerprints[name] = images.reader.fingerprint
    for note in images.notes:
        results.note(f"{name}: {note}")


def _note_copies(name: str, images: ImageSet, catalog: Catalog, results: Results) -> None:
    """Note how many images are copies of the catalogue's, if any."""
    for _, guard in copies_among(images, catalog):
        if guard.numbers["count"]:
            results.note(f"{name}: {guard.sentence}")


def _note_placebo(view: View, results: Results) -> None:
    """Note how many triples have a placebo, if not all have one."""
    draws = view.variants.get("placebo")
    if draws and len(draws[0][0]) < len(view.triples):
        results.note(
            f"placebo for {len(draws[0][0]):,} of {len(view.triples):,} triples: the others' items have none "
            "there"
        )


def _verify(view: View, count: int, results: Results) -> None:
    """Compare `substitute` (scope "graph") with `rebuild` on a random sample of the triples."""
    triples = view.triples
    at = Rng(0).for_("verify").numpy().permutation(len(triples))[:count]
    users, items = triples.users[at], triples.items[at]
    x = {MODALITY: triples.features[triples.which[at]]}
    for one in view.judges:
        quick, slow = one.ranker.substitute(users, items, x, "graph"), one.ranker.rebuild(users, items, x)
        largest = float(np.abs(quick.score - slow.score).max())
        equal = float((quick.rank == slow.rank).mean())
        text = f"scores differ from a rebuild by at most {largest:.2g}, {equal:.0%} of {len(at)} ranks equal"
        results.verdict(f"verify ({one.label})", text)
        results.row(
            variant="images", metric="verify_largest_difference", value=largest, n=len(at), judge=one.label
        )
        results.row(variant="images", metric="verify_equal_ranks", value=equal, n=len(at), judge=one.label)
