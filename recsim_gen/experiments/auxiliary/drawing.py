"""The generators of `aux_rec`, trained or loaded, and their images for the conditions of a policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from recsim_gen.artifacts.drawn_images import images_for
from recsim_gen.core.errors import SettingError
from recsim_gen.core.processes import this_process
from recsim_gen.core.results import Results
from recsim_gen.core.specs import GeneratorSpec
from recsim_gen.core.types import Dataset
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
from recsim_gen.experiments.methods import Method, check_settings, read_methods
from recsim_gen.experiments.opened_methods import OpenedMethods

if TYPE_CHECKING:
    from recsim_gen.core.protocols import Generator
    from recsim_gen.core.tracking import Tracker
    from recsim_gen.core.types import Episode
    from recsim_gen.judging.judges import Judge
    from recsim_gen.models.family import ModelFamily


KNOWN_TRUTH = ("oracle", "sd")


def read_generators(words: Sequence[str], family: ModelFamily) -> list[Method]:
    """Return the generators parsed by `read_methods`, without ``none`` and the rows that are always present.

    Raises SettingError for an unknown generator or setting, and for the name of a control.
    """
    named = [word for text in words for word in text.split(",") if word != "none"]
    methods = read_methods([",".join(named)]) if named else []
    methods = [method for method in methods if method.label not in (ORIGINAL, PLACEBO)]
    for method in methods:
        if is_control(method.label):
            raise SettingError(f"{method.label!r} is the name of a control: name the generator otherwise")
    check_settings(methods, family)
    return methods


def with_known_truth(methods: Sequence[Method], dataset: Dataset) -> list[Method]:
    """Add rows of ``oracle`` and ``sd`` if preferences are known and they are missing.

    The oracle reads the true preferences under every policy: the ceiling. ``sd`` draws from captions, without
    personalisation.
    """
    from recsim_gen.datasets.boutique.world import Boutique

    if not isinstance(dataset, Boutique):
        return [*methods]
    there = {name for method in methods for name in (method.label, method.generator)}
    return [*methods, *(Method(name, GeneratorSpec(name)) for name in KNOWN_TRUTH if name not in there)]


def open_generators(
    methods: Sequence[Method],
    dataset: Dataset,
    *,
    judges: Mapping[str, Judge],
    family: ModelFamily,
    seed: int,
    device: str = "cpu",
    tracker: Tracker | None = None,
) -> dict[str, Generator]:
    """Return {label: generator}, trained on training episodes, in parallel, or loaded.

    ``judges`` {label: judge} are the rewards of those that need one. Boutique's placebo, which draws the same
    look again, is included.
    """
    from recsim_gen.datasets.boutique.world import Boutique

    if isinstance(dataset, Boutique):
        methods = [*methods, Method(PLACEBO, GeneratorSpec(PLACEBO))]
    opened = OpenedMethods(dataset, judges, family, device, tracker)
    opened.train(methods, [seed])
    generators = {}
    for method in methods:
        with this_process().main_process_first():
            generators[method.label] = opened.open(method, seed)
    return generators


def drawn_images(
    generator: Generator, dataset: Dataset, episodes: Sequence[Episode], *, seed: int
) -> ImageSet:
    """Return an image of each episode by a fitted generator; several processes draw a share each.

    Cached by `images_for`: images drawn before, for whatever episodes, are reused.
    """
    process = this_process()
    if process.num_processes > 1:
        share = episodes[process.process_index :: process.num_processes]
        if share:
            images_for(generator, dataset, share, seed=seed)
        process.wait_for_everyone()
    with process.main_process_first():
        return read_images(images_for(generator, dataset, episodes, seed=seed), dataset)


def drawn_features(
    conditions: Conditions,
    dataset: Dataset,
    sets: Mapping[str, ImageSet],
    encoder: str,
    results: Results,
    *,
    rule: Rule = "mean",
    device: str = "cpu",
    placebo_is_real: bool = False,
) -> dict[str, NewFeatures]:
    """Return {name: features} of each set of images for these conditions, as from `features_of`.

    ``placebo_is_real``: the user states that the placebo's images were not made for anybody. ``results``
    receives a fingerprint of each set, and notes.
    """
    features = {}
    with this_process().main_process_first():  # the others load its features from the cache
        for name, images in sets.items():
            features[name] = features_of(
                images,
                conditions,
                encoder,
                dataset,
                rule=rule,
                device=device,
                of_nobody=placebo_is_real and name == PLACEBO,
            )
            results.fingerprints[f"pictures {name} {conditions.leakage}"] = images.reader.fingerprint
    _note(conditions, features, dataset, results)
    return features


def _note(
    conditions: Conditions, features: Mapping[str, NewFeatures], dataset: Dataset, results: Results
) -> None:
    policy, count = conditions.leakage, len(conditions.items)
    results.note(
        f"{policy}: {count:,} of {len(dataset.catalog):,} items replaced, by {len(conditions.episodes):,} "
        "pictures of each generator"
    )
    if policy == "paper":
        results.note(
            "paper is leaky: its pictures are drawn for the test choices, so they show what the test user "
            "likes, and which items are test choices; noise and shuffled show the latter alone"
        )
    if PLACEBO not in features:
        results.note("no placebo: other real pictures of the items are wanted, --placebo FOLDER")
    for name, new in features.items():
        if len(new.place) < count:
            results.note(
                f"{name} ({policy}): pictures of {len(new.place):,} of these items, the others keep their own"
            )
