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
    judgement = judge(dataset, catalog, [Judge("micro", 0, ranker)], "my_images")
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
from recsim_gen.judging.judges import Judge
from recsim_gen.judging.neighbourhood import Neighbourhood
from recsim_gen.judging.queries import MODALITY, Triples, ask, triples_of
from recsim_gen.judging.samples import add_rows, collect, over_seeds
from recsim_gen.judging.variants import Variant, has_image, placebo_of, variants_of

if TYPE_CHECKING:
    import pandas as pd

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
    judges: Sequence[Judge],
    images: Images,
    *,
    placebo: str | Path | ImageSet | None = None,
    users: Sequence[str] | None = None,
    scope: Scope = "graph",
    seeds: Sequence[int] = (0,),
    candidates: int = 40,
    headroom_pairs: int = 300,
    verify: int = 0,
    device: str = "cpu",
    results: Results | None = None,
) -> Judgement:
    """Return ΔR, ΔMRR and share improved of images under each judge, of the controls, and all guards.

    Parameters
    ----------
    dataset, catalog
        The data, and its items with features (`encoders.features.encode`), by which the rankers were
        trained. Images are encoded by what encoded the catalogue (`Catalog.encoders`).
    judges
        The first is the one that gave the reward, if one did. Seeds of one name are averaged per triple,
        and each has rows of its own as well.
    images
        Folder, tar (`image_sets`), or triples whose features are made already, by the same encoder.
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
    verify
        Triples to compare with the ranker's slow `rebuild`.
    device
        Where the encoder runs.
    results
        Results to add to; default new ones.

    Raises DataError for images, features or ids that cannot be used, SettingError for settings.
    """
    if not judges or MODALITY not in catalog.features or not seeds or candidates < 1 or headroom_pairs < 0:
        raise SettingError(
            "judging needs a judge, image features, a seed, a candidate and 0 or more headroom pairs, got "
            f"{len(judges)}, {sorted(catalog.features)}, {len(seeds)}, {candidates} and {headroom_pairs}"
        )
    labels = [one.label for one in judges]
    if len(set(labels)) < len(labels):
        raise SettingError(f"each judge must be given once, got {', '.join(labels)}")
    results = results or Results("judge", {"scope": scope, "seeds": [*seeds]})
    if not isinstance(images, (ImageSet, Triples)):
        images = read_images(images, dataset)
    triples = images
    if isinstance(triples, ImageSet):
        _note_images("images", triples, results)
        triples = triples_of(triples, dataset, catalog, users=users, device=device)
    triples.check(dataset, catalog)
    if placebo is not None and not isinstance(placebo, ImageSet):
        placebo = read_images(placebo, dataset)
    other = None if placebo is None else _placebo(placebo, triples, catalog, device, results)
    variants = variants_of(triples, catalog, seeds, other)
    samples = collect(judges, triples, variants, scope, dataset)
    add_rows(samples, scope, results)
    named_guards = [
        *_control_guards(samples),
        *_headroom(judges, triples, catalog, scope, candidates, headroom_pairs),
        *_feature_guards(triples, variants, catalog, judges),
    ]
    for name, guard in named_guards:
        _report(guard, name, results)
    if verify:
        _verify(judges, triples, verify, results)
    return Judgement(results, over_seeds(samples), tuple(guard for _, guard in named_guards))


def _note_images(name: str, images: ImageSet, results: Results) -> None:
    results.fingerprints[name] = images.reader.fingerprint
    for note in images.notes:
        results.note(f"{name}: {note}")


def _placebo(placebo: ImageSet, triples: Triples, catalog: Catalog, device: str, results: Results) -> Variant:
    _note_images("placebo", placebo, results)
    at, shown = placebo_of(triples, placebo, catalog.encoder_of(MODALITY), device)
    if len(at) < len(triples):
        results.note(
            f"placebo for {len(at):,} of {len(triples):,} triples: the others' items have none there"
        )
    return at, shown


def _control_guards(samples: pd.DataFrame) -> list[tuple[str | None, Guard]]:
    """Identity, placebo, noise and shuffled of each judge, and the judges against each other."""
    whole = over_seeds(samples)
    named_guards: list[tuple[str | None, Guard]] = []
    for judge_name, mine in whole.groupby("judge", sort=False):
        of = {variant: part.set_index("triple") for variant, part in mine.groupby("variant", sort=False)}
        own = samples[(samples["judge"] == judge_name) & (samples["variant"] == "own")]
        identity = guards.identity(own["delta_r"].to_numpy(), own["delta_score"].to_numpy())
        named_guards.append((str(judge_name), identity))
        for name in (c for c in CONTROLS if c in of):
            control = of[name]
            same = of["images"].loc[control.index]
            people = control["person"].to_numpy()
            ours, theirs = (part["delta_r"].to_numpy() for part in (same, control))
            named_guards.append((str(judge_name), guards.against(name, ours, theirs, people, Rng(0))))
    images = samples[samples["variant"] == "images"].groupby("label", sort=False)
    values = {str(label): part["delta_r"].to_numpy() for label, part in images}
    blind = {str(label): not part["touched"].any() for label, part in images}
    return [*named_guards, (None, guards.held_out(values, blind))]


def _headroom(
    judges: Sequence[Judge], triples: Triples, catalog: Catalog, scope: Scope, candidates: int, pairs: int
) -> Iterable[tuple[str, Guard]]:
    """Of the first seed of each judge: a sample of pairs, each with the same random catalogue pictures."""
    if not pairs:
        return
    at = Rng(0).for_("headroom", "pairs").numpy().permutation(len(triples))[:pairs]
    order = Rng(0).for_("headroom", "candidates").numpy().permutation(np.flatnonzero(has_image(catalog)))
    rows = order[:candidates]
    width = len(rows)
    users, items = (np.repeat(a[at], width) for a in (triples.users, triples.items))
    tried = Triples(users, items, np.tile(rows, len(at)), catalog.features[MODALITY])
    done = set()
    for one in judges:
        if one.name not in done:
            done.add(one.name)
            answer = ask(one.ranker, tried, scope=scope, what=f"{one.label}: headroom")
            yield one.name, guards.headroom(answer.original_rank[::width], answer.rank.reshape(-1, width))


def _feature_guards(
    triples: Triples, variants: Mapping[str, list[Variant]], catalog: Catalog, judges: Sequence[Judge]
) -> list[tuple[None, Guard]]:
    """Distance and hubs: of the features alone, whoever judges; lists as long as the first judge's."""
    k = getattr(judges[0].ranker.config, "knn_k", 10) - 1
    near = Neighbourhood.of(catalog.features[MODALITY], has_image(catalog), k)
    looked_up = {}
    for variant, draws in variants.items():
        _, t = draws[0]
        once = np.unique(np.stack([t.which, t.items]), axis=1)
        looked_up[variant] = near.look_up(t.features[once[0]], once[1])
    distances, lists = ({v: pair[i] for v, pair in looked_up.items()} for i in (0, 1))
    return [(None, guards.distance(distances, near)), (None, guards.hubs(lists, near))]


def _report(guard: Guard, judge_name: str | None, results: Results) -> None:
    """A verdict in words, and its numbers as rows of the variant ``images``."""
    results.verdict(
        guard.name + (f" ({judge_name})" if judge_name else ""), f"{guard.verdict}: {guard.sentence}"
    )
    of_judge: dict[str, Any] = {"judge": judge_name} if judge_name else {}
    name = guard.name.replace(" ", "_").replace("-", "_")
    for number, value in guard.numbers.items():
        results.row(variant="images", metric=f"{name}_{number}", value=value, **of_judge)


def _verify(judges: Sequence[Judge], triples: Triples, count: int, results: Results) -> None:
    """Compare `substitute` (scope "graph") with `rebuild` on a random sample of the triples."""
    at = Rng(0).for_("verify").numpy().permutation(len(triples))[:count]
    users, items = triples.users[at], triples.items[at]
    x = {MODALITY: triples.features[triples.which[at]]}
    for one in judges:
        quick, slow = one.ranker.substitute(users, items, x, "graph"), one.ranker.rebuild(users, items, x)
        largest = float(np.abs(quick.score - slow.score).max())
        equal = float((quick.rank == slow.rank).mean())
        text = f"scores differ from a rebuild by at most {largest:.2g}, {equal:.0%} of {len(at)} ranks equal"
        results.verdict(f"verify ({one.label})", text)
        results.row(
            variant="images", metric="verify_largest_difference", value=largest, n=len(at), judge=one.label
        )
        results.row(variant="images", metric="verify_equal_ranks", value=equal, n=len(at), judge=one.label)
