"""Judge images that come from anywhere: ΔR under several rankers, beside controls, with guards.

The same as ``python -m recsim_gen.judge``, from Python::

    from recsim_gen.artifacts.trained_rankers import trained_ranker
    from recsim_gen.core.table import table
    from recsim_gen.datasets.opening import open_data
    from recsim_gen.encoders.features import encode
    from recsim_gen.judging.judges import Judge
    from recsim_gen.judging.judging import judge

    dataset = open_data("boutique")
    catalog = encode(dataset)
    ranker = trained_ranker("micro", catalog, dataset.interactions, seed=0)
    judgement = judge(dataset, [Judge("micro", 0, ranker, catalog)], "my_images")
    print(table(judgement.results, metrics=["delta_r", "delta_mrr"]), *judgement.guards, sep="\\n")

Variants beside ``images``: ``placebo``, another real picture of the item; ``noise``, a random feature of
the catalogue's mean, spread and length; ``shuffled``, another item's picture; ``own``, the item's own,
which must give exactly 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from recsim_gen.core.errors import SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.results import Results
from recsim_gen.core.types import Scope
from recsim_gen.datasets.image_sets import ImageSet, read_images
from recsim_gen.encoders.features import encode_reader
from recsim_gen.judging import guards
from recsim_gen.judging.guards import Guard, add_guard
from recsim_gen.judging.judges import Judge
from recsim_gen.judging.neighbourhood import Neighbourhood
from recsim_gen.judging.queries import MODALITY, Triples, ask, triples_of
from recsim_gen.judging.samples import add_rows, collect, over_seeds
from recsim_gen.judging.swap_test import swap_test, swaps_of
from recsim_gen.judging.variants import Variant, has_image, placebo_of, variants_of
from recsim_gen.metrics.copies import THUMBNAILS, CopyFinder

if TYPE_CHECKING:
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
    """Return ΔR, ΔMRR and share improved of images under each judge, of the controls, and all guards.

    Parameters
    ----------
    dataset
        The data that the rankers were trained on.
    judges
        The first is the one that gave the reward, if one did. Seeds of one name are averaged per triple,
        and each has rows of its own as well. Images are encoded for each by what encoded its catalogue.
    images
        Folder, tar (`image_sets`), or triples whose features are made already, by the judges' one encoder.
    placebo
        Folder or tar of other real pictures of the items; those without one are left out of it.
    users
        Ids to ask about images without a user of their own; default those whose test reference it is.
    scope
        "graph": exact; "item": the item's own row only.
    seeds
        Draws of noise and shuffled pictures, averaged per triple.
    candidates, headroom_pairs
        Headroom: random catalogue pictures, tried on a random sample of pairs; 0 leaves it out.
    swap_choices
        Swap test: random test choices that are asked about; 0 leaves it out.
    verify
        Triples to compare with the ranker's slow `rebuild`.
    device
        Where the encoder runs.
    results
        Results to add to; default new ones.

    Raises DataError for images, features or ids that cannot be used, SettingError for settings.
    """
    if not judges or not seeds or candidates < 1 or headroom_pairs < 0 or swap_choices < 0:
        raise SettingError(
            "judging needs a judge, a seed, a candidate and 0 or more headroom pairs and swap choices, got "
            f"{len(judges)}, {len(seeds)}, {candidates}, {headroom_pairs} and {swap_choices}"
        )
    for one in judges:
        if MODALITY not in one.catalog.features:
            has = sorted(one.catalog.features)
            raise SettingError(f"judging needs image features, {one.label} sees items by features of {has}")
    labels = [one.label for one in judges]
    if len(set(labels)) < len(labels):
        raise SettingError(f"each judge must be given once, got {', '.join(labels)}")
    results = results or Results("judge", {"scope": scope, "seeds": [*seeds]})
    if not isinstance(images, (ImageSet, Triples)):
        images = read_images(images, dataset)
    copied = []
    if isinstance(images, ImageSet):
        _note_images("images", images, results)
        copied = _copies(images, judges[0].catalog)
    if placebo is not None and not isinstance(placebo, ImageSet):
        placebo = read_images(placebo, dataset)
    if placebo is not None:
        _note_images("placebo", placebo, results)
        _note_copies("placebo", placebo, judges[0].catalog, results)
    views = [
        _view(group, images, placebo, dataset, users=users, seeds=seeds, device=device)
        for group in _by_encoder(judges)
    ]
    _note_placebo(views[0], results)
    samples = pd.concat(
        [collect(view.judges, view.triples, view.variants, scope, dataset) for view in views],
        ignore_index=True,
    )
    add_rows(samples, scope, results)
    named_guards = [*_control_guards(samples)]
    for view in views:
        named_guards += [
            *_headroom(view, scope, candidates, headroom_pairs),
            *_swap_tests(view, dataset, swap_choices),
            *_feature_guards(view, None if len(views) == 1 else view.encoder),
        ]
    named_guards += copied
    for name, guard in named_guards:
        add_guard(guard, name, results, variant="images")
    if verify:
        for view in views:
            _verify(view, verify, results)
    return Judgement(results, over_seeds(samples), tuple(guard for _, guard in named_guards))


@dataclass(frozen=True, eq=False)
class View:
    """The same questions as the judges of one encoder see them."""

    judges: tuple[Judge, ...]
    triples: Triples
    variants: Mapping[str, list[Variant]]

    @property
    def catalog(self) -> Catalog:
        """The items, encoded."""
        return self.judges[0].catalog

    @property
    def encoder(self) -> str:
        """Of pictures; "" where the catalogue does not say."""
        return self.catalog.encoders.get(MODALITY, "")


def _by_encoder(judges: Sequence[Judge]) -> list[tuple[Judge, ...]]:
    """The judges in groups that see pictures by one encoder, those of the first judge first."""
    groups: dict[str | None, list[Judge]] = {}
    for one in judges:
        groups.setdefault(one.catalog.encoders.get(MODALITY), []).append(one)
    return [tuple(group) for group in groups.values()]


def _view(
    judges: tuple[Judge, ...],
    images: ImageSet | Triples,
    placebo: ImageSet | None,
    dataset: Dataset,
    *,
    users: Sequence[str] | None,
    seeds: Sequence[int],
    device: str,
) -> View:
    """Raises DataError for features that the judges' encoder did not make."""
    catalog = judges[0].catalog
    triples = images
    if isinstance(triples, ImageSet):
        triples = triples_of(triples, dataset, catalog, users=users, device=device)
    triples.check(dataset, catalog)
    other = None if placebo is None else placebo_of(triples, placebo, catalog.encoder_of(MODALITY), device)
    return View(judges, triples, variants_of(triples, catalog, seeds, other))


def _note_images(name: str, images: ImageSet, results: Results) -> None:
    results.fingerprints[name] = images.reader.fingerprint
    for note in images.notes:
        results.note(f"{name}: {note}")


def _note_copies(name: str, images: ImageSet, catalog: Catalog, results: Results) -> None:
    """How many are the catalogue's own pictures, where any is."""
    for _, guard in _copies(images, catalog):
        if guard.numbers["count"]:
            results.note(f"{name}: {guard.sentence}")


def _note_placebo(view: View, results: Results) -> None:
    """How many triples have one, where not all do."""
    draws = view.variants.get("placebo")
    if draws and len(draws[0][0]) < len(view.triples):
        results.note(
            f"placebo for {len(draws[0][0]):,} of {len(view.triples):,} triples: the others' items have none "
            "there"
        )


def _control_guards(samples: pd.DataFrame) -> list[tuple[str | None, Guard]]:
    """Identity, placebo, noise and shuffled of each judge, and the judges against each other."""
    named_guards: list[tuple[str | None, Guard]] = []
    for judge_name, mine in samples.groupby("judge", sort=False):
        of = {
            variant: part.set_index(["label", "triple"])
            for variant, part in mine.groupby("variant", sort=False)
        }
        own = of["own"]
        identity = guards.identity(own["delta_r"].to_numpy(), own["delta_score"].to_numpy())
        named_guards.append((str(judge_name), identity))
        for name in (c for c in CONTROLS if c in of):
            control = of[name]
            same = of["images"].loc[control.index]
            people, label = control["person"].to_numpy(), control.index.get_level_values("label").to_numpy()
            ours, theirs = (part["delta_r"].to_numpy() for part in (same, control))
            guard = guards.against(name, ours, theirs, people, Rng(0), trainings=label)
            named_guards.append((str(judge_name), guard))
    images = samples[samples["variant"] == "images"].groupby("label", sort=False)
    values = {str(label): part["delta_r"].to_numpy() for label, part in images}
    blind = {str(label): not part["touched"].any() for label, part in images}
    return [*named_guards, (None, guards.held_out(values, blind))]


def _headroom(view: View, scope: Scope, candidates: int, pairs: int) -> Iterable[tuple[str, Guard]]:
    """Of the first seed of each judge: a sample of pairs, each with the same random catalogue pictures."""
    if not pairs:
        return
    triples, catalog = view.triples, view.catalog
    at = Rng(0).for_("headroom", "pairs").numpy().permutation(len(triples))[:pairs]
    order = Rng(0).for_("headroom", "candidates").numpy().permutation(np.flatnonzero(has_image(catalog)))
    rows = order[:candidates]
    width = len(rows)
    users, items = (np.repeat(a[at], width) for a in (triples.users, triples.items))
    tried = Triples(users, items, np.tile(rows, len(at)), catalog.features[MODALITY])
    for one in _first_seeds(view.judges):
        answer = ask(one.ranker, tried, scope=scope, what=f"{one.label}: headroom")
        yield one.name, guards.headroom(answer.original_rank[::width], answer.rank.reshape(-1, width))


def _swap_tests(view: View, dataset: Dataset, choices: int) -> Iterable[tuple[str, Guard]]:
    """Of all seeds of each judge together, on the same test choices."""
    if not choices or not (dataset.interactions.split == "test").any():
        return
    swaps = swaps_of(dataset, view.catalog, Rng(0), most=choices)
    for one in _first_seeds(view.judges):
        rankers = [other.ranker for other in view.judges if other.name == one.name]
        yield one.name, swap_test(rankers, swaps, view.catalog)


def _first_seeds(judges: Sequence[Judge]) -> list[Judge]:
    """The first judge of each name."""
    first: dict[str, Judge] = {}
    for one in judges:
        first.setdefault(one.name, one)
    return list(first.values())


def _feature_guards(view: View, name: str | None) -> list[tuple[str | None, Guard]]:
    """Distance and hubs: of the features alone, whoever judges; lists as long as the first judge's."""
    x, present = view.catalog.features[MODALITY], has_image(view.catalog)
    near = Neighbourhood.of(x, present, getattr(view.judges[0].ranker.config, "knn_k", 10) - 1)
    looked_up = {}
    for variant, draws in view.variants.items():
        _, t = draws[0]
        once = np.unique(np.stack([t.which, t.items]), axis=1)
        looked_up[variant] = near.look_up(t.features[once[0]], once[1])
    distances, lists = ({v: pair[i] for v, pair in looked_up.items()} for i in (0, 1))
    return [(name, guards.distance(distances, near)), (name, guards.hubs(lists, near))]


def _copies(images: ImageSet, catalog: Catalog) -> list[tuple[None, Guard]]:
    """Of the pictures alone: how many are the catalogue's; nothing where that has none to compare with."""
    finder = None if catalog.images is None else CopyFinder.of(catalog.images)
    if finder is None:
        return []
    found = finder.find(encode_reader(images.reader, THUMBNAILS), images.item)
    return [(None, guards.copies(found, finder))]


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
