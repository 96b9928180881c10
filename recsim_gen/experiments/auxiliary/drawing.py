"""The generators of `aux_rec`, trained or found, and their pictures for the conditions of a policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from recsim_gen.artifacts.drawn_images import pictures_for
from recsim_gen.core.errors import SettingError
from recsim_gen.core.processes import this_process
from recsim_gen.core.registry import GENERATORS, resolve
from recsim_gen.core.results import Results
from recsim_gen.core.types import Catalog, Dataset
from recsim_gen.datasets.episodes import training_episodes
from recsim_gen.datasets.image_sets import ImageSet, read_images
from recsim_gen.experiments.auxiliary.conditions import Conditions
from recsim_gen.experiments.auxiliary.features import (
    ORIGINAL,
    PLACEBO,
    NewFeatures,
    Rule,
    features_of,
    is_control,
)
from recsim_gen.experiments.contenders import Contender, check_settings, contenders

if TYPE_CHECKING:
    from recsim_gen.core.protocols import Generator, Ranker
    from recsim_gen.core.tracking import Tracker
    from recsim_gen.models.family import ModelFamily


def asked_for(words: Sequence[str], family: ModelFamily) -> list[Contender]:
    """The generators that `contenders` reads; ``none`` and what stands in every table are left out.

    Raises SettingError for an unknown generator or setting, and for the name of a control.
    """
    named = [word for given in words for word in given.split(",") if word != "none"]
    found = contenders([",".join(named)]) if named else []
    found = [c for c in found if c.label not in (ORIGINAL, PLACEBO)]
    for c in found:
        if is_control(c.label):
            raise SettingError(f"{c.label!r} is the name of a control: name the generator otherwise")
    check_settings(found, family)
    return found


def opened(
    asked: Sequence[Contender],
    dataset: Dataset,
    catalog: Catalog,
    *,
    teacher: Callable[[], Ranker],
    family: ModelFamily,
    seed: int,
    device: str = "cpu",
    tracker: Tracker | None = None,
) -> dict[str, Generator]:
    """{label: generator}, trained on training episodes or found; of several processes the main one trains.

    ``catalog`` is the data set's, encoded; ``teacher`` gives the ranker that some learn from. Boutique's
    placebo, which draws the same look again, is among them.
    """
    from recsim_gen.datasets.boutique.world import Boutique

    asked = [*asked, Contender(PLACEBO, PLACEBO)] if isinstance(dataset, Boutique) else asked
    process = this_process()
    episodes = training_episodes(dataset) if asked else ()
    own = str(process.device) if device == "cuda" else device  # each process draws on a GPU of its own
    found = {}
    for c in asked:
        learns_from_one = getattr(resolve(c.generator, GENERATORS, "generator"), "uses_ranker", False)
        with process.main_process_first():
            ranker = teacher() if learns_from_one else None
            how: dict[str, Any] = {"seed": seed, "models": family, "device": own, "tracker": tracker}
            found[c.label] = c.open(catalog, episodes, ranker=ranker, **how)
    return found


def drawn_images(generator: Generator, dataset: Dataset, conditions: Conditions, *, seed: int) -> ImageSet:
    """A picture of each episode by a generator that can draw; several processes draw a share each.

    Kept by `pictures_for`: what was drawn before, for whatever episodes, is not drawn again.
    """
    process, episodes = this_process(), conditions.episodes
    if process.num_processes > 1:
        share = episodes[process.process_index :: process.num_processes]
        if share:
            pictures_for(generator, dataset, share, seed=seed)
        process.wait_for_everyone()
    with process.main_process_first():
        return read_images(pictures_for(generator, dataset, episodes, seed=seed), dataset)


def drawn_features(
    conditions: Conditions,
    dataset: Dataset,
    sets: Mapping[str, ImageSet],
    encoder: str,
    results: Results,
    *,
    rule: Rule = "mean",
    device: str = "cpu",
) -> dict[str, NewFeatures]:
    """{name: features} of each set of pictures for these conditions, as `features_of` gives them.

    ``results`` gets a fingerprint of each set, and what its reader must know.
    """
    found = {}
    with this_process().main_process_first():  # the others find what it has encoded
        for name, images in sets.items():
            found[name] = features_of(
                images, conditions, encoder, dataset.interactions, rule=rule, device=device
            )
            results.fingerprints[f"pictures {name} {conditions.leakage}"] = images.pictures.fingerprint
    _note(conditions, found, dataset, results)
    return found


def _note(
    conditions: Conditions, found: Mapping[str, NewFeatures], dataset: Dataset, results: Results
) -> None:
    policy, count = conditions.leakage, len(conditions.items)
    results.note(
        f"{policy}: {count:,} of {len(dataset.catalog):,} items replaced, by {len(conditions.episodes):,} "
        "pictures of each generator"
    )
    if policy == "paper":
        results.note(
            "paper is leaky: its pictures are drawn for the test choices, so they show what the test user "
            "likes, and which items somebody will be asked about; noise and shuffled show the latter alone"
        )
    if PLACEBO not in found:
        results.note("no placebo: other real pictures of the items are wanted, --placebo FOLDER")
    for name, new in found.items():
        if len(new.place) < count:
            results.note(
                f"{name} ({policy}): pictures of {len(new.place):,} of these items, the others keep their own"
            )
