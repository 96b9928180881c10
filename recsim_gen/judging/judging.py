"""Judge images that come from anywhere: ΔR under several rankers, beside controls, with guards.

The same as ``python -m recsim_gen.judge``, from Python::

    from recsim_gen.core.table import table
    from recsim_gen.datasets.opening import open_data
    from recsim_gen.encoders.features import encode
    from recsim_gen.judging.judging import judge
    from recsim_gen.artifacts.trained_rankers import trained_ranker

    dataset = open_data("boutique")
    catalog = encode(dataset)
    ranker = trained_ranker("micro", None, catalog, dataset.interactions, seed=0)
    judgement = judge(dataset, catalog, {"micro-seed0": ranker}, "my_images", encoder="pixels")
    print(table(judgement.results, metrics=["delta_r", "delta_mrr"]), *judgement.guards, sep="\\n")

Variants beside ``images``: ``placebo``, another real picture of the item; ``noise``, a random feature of
the catalogue's mean, spread and length; ``shuffled``, another item's picture; ``own``, the item's own,
which must give exactly 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recsim_gen.core.errors import SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.results import Results
from recsim_gen.core.types import Scope
from recsim_gen.datasets.image_sets import ImageSet, read_images
from recsim_gen.judging import guards
from recsim_gen.judging.guards import Guard
from recsim_gen.judging.neighbourhood import Neighbourhood
from recsim_gen.judging.queries import MODALITY, Triples, ask, triples_of
from recsim_gen.judging.samples import add_rows, collect, label_of, over_seeds
from recsim_gen.judging.variants import Variant, has_picture, placebo_of, variants_of

if TYPE_CHECKING:
    import pandas as pd

    from recsim_gen.core.protocols import Ranker
    from recsim_gen.core.types import Catalog, Dataset

CONTROLS = ("placebo", "noise", "shuffled")
Images = str | Path | ImageSet | Triples


@dataclass(frozen=True, eq=False)
class Judgement:
    """``results`` with all rows and verdicts; ``samples``: one row per judge, variant and triple.

    ``samples`` has ``judge``, ``variant``, ``triple`` (position), ``user``, ``item``, ``person`` and
    `samples.NUMBERS`, averaged over a judge's seeds and a control's draws; ``guards`` in the order of
    the verdicts.
    """

    results: Results
    samples: pd.DataFrame = field(repr=False)
    guards: tuple[Guard, ...]


def judge(
    dataset: Dataset,
    catalog: Catalog,
    rankers: Mapping[str, Ranker],
    images: Images,
    *,
    placebo: str | Path | ImageSet | None = None,
    encoder: str | None = None,
    users: Sequence[str] | None = None,
    scope: Scope = "graph",
    seeds: Sequence[int] = (0,),
    candidates: int = 40,
    headroom_pairs: int = 300,
    verify: int = 0,
    device: str = "cpu",
    results: Results | None = None,
) -> Judgement:
    """ΔR, ΔMRR and share improved of images under each ranker, of the controls, and all guards.

    Parameters
    ----------
    dataset, catalog
        The data, and its items with features (`encoders.features.encode`).
    rankers
        {name: ranker}, the first the one that gave the reward, if one did. ``micro-seed0`` and
        ``micro-seed1`` are two seeds of the judge ``micro``: averaged per triple, each told as well.
    images
        Folder, tar (`image_sets`), or triples whose features are made already.
    placebo
        Folder or tar of other real pictures of the items; those without one are left out of it.
    encoder
        Image encoder of the catalogue; default the data's own.
    users
        Ids to ask about images without a user of their own; default those whose test reference it is.
    scope
        "graph": exact; "item": the item's own row only.
    seeds
        Draws of noise and shuffled pictures, averaged per triple.
    candidates, headroom_pairs
        Headroom: random catalogue pictures, tried on a random sample of pairs; 0 leaves it out.
    verify
        Triples to compare with the ranker's slow `rebuild`.
    device
        Where the encoder runs.
    results
        Results to add to; default new ones.

    Raises DataError for images, features or ids that cannot be used, SettingError for settings.
    """
    if not rankers or MODALITY not in catalog.features or not seeds or candidates < 1 or headroom_pairs < 0:
        raise SettingError(
            "judging needs a ranker, image features, a seed, a candidate and 0 or more headroom pairs, got "
            f"{len(rankers)}, {sorted(catalog.features)}, {len(seeds)}, {candidates} and {headroom_pairs}"
        )
    encoder = encoder or dataset.encoders.get(MODALITY, "")
    results = results or Results("judge", {"scope": scope, "seeds": [*seeds]})
    if not isinstance(images, (ImageSet, Triples)):
        images = read_images(images, dataset)
    asked = images
    if isinstance(asked, ImageSet):
        _note_images("images", asked, results)
        asked = triples_of(asked, dataset, encoder, users=users, device=device)
    asked.check(dataset, catalog)
    if placebo is not None and not isinstance(placebo, ImageSet):
        placebo = read_images(placebo, dataset)
    other = None if placebo is None else _placebo(placebo, asked, encoder, device, results)
    variants = variants_of(asked, catalog, seeds, other)
    samples = collect(rankers, asked, variants, scope, dataset)
    add_rows(samples, scope, results)
    found = [
        *_control_guards(samples),
        *_headroom(rankers, asked, catalog, scope, candidates, headroom_pairs),
        *_feature_guards(asked, variants, catalog, rankers),
    ]
    for label, guard in found:
        _report(guard, label, results)
    if verify:
        _verify(rankers, asked, verify, results)
    return Judgement(results, over_seeds(samples), tuple(guard for _, guard in found))


def _note_images(name: str, images: ImageSet, results: Results) -> None:
    results.fingerprints[name] = images.pictures.fingerprint
    for note in images.notes:
        results.note(f"{name}: {note}")


def _placebo(placebo: ImageSet, asked: Triples, encoder: str, device: str, results: Results) -> Variant:
    _note_images("placebo", placebo, results)
    at, shown = placebo_of(asked, placebo, encoder, device)
    if len(at) < len(asked):
        results.note(f"placebo for {len(at):,} of {len(asked):,} triples: the others' items have none there")
    return at, shown


def _control_guards(samples: pd.DataFrame) -> list[tuple[str | None, Guard]]:
    """Identity, placebo, noise and shuffled of each judge, and the judges against each other."""
    whole = over_seeds(samples)
    found: list[tuple[str | None, Guard]] = []
    for label, mine in whole.groupby("judge", sort=False):
        of = {variant: part.set_index("triple") for variant, part in mine.groupby("variant", sort=False)}
        own = samples[(samples["judge"] == label) & (samples["variant"] == "own")]
        found.append((str(label), guards.identity(own["delta_r"].to_numpy(), own["delta_score"].to_numpy())))
        for name in (c for c in CONTROLS if c in of):
            control = of[name]
            same = of["images"].loc[control.index]
            people = control["person"].to_numpy()
            ours, theirs = (part["delta_r"].to_numpy() for part in (same, control))
            found.append((str(label), guards.against(name, ours, theirs, people, Rng(0))))
    images = samples[samples["variant"] == "images"].groupby("name", sort=False)
    values = {str(name): part["delta_r"].to_numpy() for name, part in images}
    blind = {str(name): not part["touched"].any() for name, part in images}
    return [*found, (None, guards.held_out(values, blind))]


def _headroom(
    rankers: Mapping[str, Ranker], asked: Triples, catalog: Catalog, scope: Scope, candidates: int, pairs: int
) -> Iterable[tuple[str, Guard]]:
    """Of the first seed of each judge: a sample of pairs, each with the same random catalogue pictures."""
    if not pairs:
        return
    at = Rng(0).for_("headroom", "pairs").numpy().permutation(len(asked))[:pairs]
    known = Rng(0).for_("headroom", "candidates").numpy().permutation(np.flatnonzero(has_picture(catalog)))
    rows, width = known[:candidates], len(known[:candidates])
    users, items = (np.repeat(a[at], width) for a in (asked.users, asked.items))
    tried = Triples(users, items, np.tile(rows, len(at)), catalog.features[MODALITY])
    done = set()
    for name, ranker in rankers.items():
        label = label_of(name)[0]
        if label not in done:
            done.add(label)
            answer = ask(ranker, tried, scope=scope, what=f"{name}: headroom")
            yield label, guards.headroom(answer.original_rank[::width], answer.rank.reshape(-1, width))


def _feature_guards(
    asked: Triples, variants: Mapping[str, list[Variant]], catalog: Catalog, rankers: Mapping[str, Ranker]
) -> list[tuple[None, Guard]]:
    """Distance and hubs: of the features alone, whoever judges; lists as long as the first judge's."""
    k = getattr(next(iter(rankers.values())).config, "knn_k", 10) - 1
    near = Neighbourhood.of(catalog.features[MODALITY], has_picture(catalog), k)
    looked = {}
    for variant, draws in variants.items():
        _, t = draws[0]
        once = np.unique(np.stack([t.which, t.items]), axis=1)
        looked[variant] = near.look_up(t.features[once[0]], once[1])
    distances, lists = ({v: pair[i] for v, pair in looked.items()} for i in (0, 1))
    return [(None, guards.distance(distances, near)), (None, guards.hubs(lists, near))]


def _report(guard: Guard, label: str | None, results: Results) -> None:
    """A verdict in words, and its numbers as rows of the variant ``images``."""
    results.verdict(guard.name + (f" ({label})" if label else ""), f"{guard.verdict}: {guard.sentence}")
    more: dict[str, Any] = {"judge": label} if label else {}
    name = guard.name.replace(" ", "_").replace("-", "_")
    for number, value in guard.numbers.items():
        results.row(variant="images", metric=f"{name}_{number}", value=value, **more)


def _verify(rankers: Mapping[str, Ranker], asked: Triples, count: int, results: Results) -> None:
    """Compare `substitute` (scope "graph") with `rebuild` on a random sample of the triples."""
    at = Rng(0).for_("verify").numpy().permutation(len(asked))[:count]
    users, items = asked.users[at], asked.items[at]
    x = {MODALITY: asked.features[asked.which[at]]}
    for name, ranker in rankers.items():
        quick, slow = ranker.substitute(users, items, x, "graph"), ranker.rebuild(users, items, x)
        largest = float(np.abs(quick.score - slow.score).max())
        equal = float((quick.rank == slow.rank).mean())
        text = f"scores differ from a rebuild by at most {largest:.2g}, {equal:.0%} of {len(at)} ranks equal"
        results.verdict(f"verify ({name})", text)
        results.row(
            variant="images", metric="verify_largest_difference", value=largest, n=len(at), judge=name
        )
        results.row(variant="images", metric="verify_equal_ranks", value=equal, n=len(at), judge=name)
