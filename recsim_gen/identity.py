"""Whose is a generated image? It ranks real pictures of known identities, and its own should come first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from recsim_gen.core.config import run
from recsim_gen.core.options import DeviceOptions, ModelOptions, RunOptions

if TYPE_CHECKING:
    import pandas as pd

    from recsim_gen.core.results import Results
    from recsim_gen.core.types import Subject
    from recsim_gen.datasets.gallery import Gallery
    from recsim_gen.experiments.subjects.plan import SubjectPlan
    from recsim_gen.metrics.identity.queries import Queries

PRINTED = ("map", "chance", "rank1", "rank1_chance", "similarity", "similarity_others")


@dataclass(frozen=True, kw_only=True)
class Options(ModelOptions, DeviceOptions, RunOptions):
    """Options of identity.

    Parameters
    ----------
    gallery
        Real pictures: a folder or tar of [<group>/]<identity>/<picture>, a CSV (file, identity, optionally
        group and bbox), CUB-200-2011 as published, or boutique: designs of the simulated shop.
    queries
        Generated images, PATH or NAME=PATH each: <identity>/<picture>, or a CSV (file, identity,
        optionally method). Without any, and without --gen, only real pictures are measured.
    gen
        Subject-driven methods to draw with: dreambooth, dreambooth_lora, ip_adapter,
        ip_adapter_plus, kontext, diptych, ominicontrol; with settings LABEL=NAME:SETTING=VALUE,…
    subject_images
        For --gen: number of random pictures of each identity given to the methods; they are removed from the
        gallery.
    others
        For --gen: a gallery of other subjects to train adapters on, if the models have none;
        default for boutique: other designs.
    prompts
        For --gen: shop, scenes, or a file with one prompt per line that contains {subject}; default shop for
        models that only know the shop, else scenes.
    noun
        For --gen: noun for the subjects (dog), used in prompts; default the name of their group.
    encoder
        One or several: efficientnet-lite0, pixels, open_clip:MODEL/WEIGHTS, hf:NAME-OR-FOLDER.
    groups
        Groups of the gallery, default all.
    identities
        Number of identities of each group, the largest ones, default all.
    images
        Number of random pictures of each identity in the gallery, default all.
    held_out
        Number of real pictures of each identity used as queries, in addition to --images; without --images
        each picture queries the gallery without itself.
    ablate_images
        Also with these numbers of pictures per identity: --ablate-images 1 2 5 10.
    ablate_identities
        Also with these numbers of identities in the gallery: --ablate-identities 2 5 10.
    draws
        Random draws of each smaller gallery.
    seed
        Seed of the random selections.
    output
        Folder for results.json, the figure, retrieved.png and per_image.csv.
    """

    gallery: Path | None = None
    queries: tuple[str, ...] = ()
    gen: tuple[str, ...] = ()
    subject_images: int = 5
    others: Path | None = None
    prompts: str = ""
    noun: str = ""
    encoder: tuple[str, ...] = ("efficientnet-lite0",)
    groups: tuple[str, ...] = ()
    identities: int | None = None
    images: int | None = None
    held_out: int = 10
    ablate_images: tuple[int, ...] = ()
    ablate_identities: tuple[int, ...] = ()
    draws: int = 5
    seed: int = 0
    output: Path = Path("runs/identity")


def main(options: Options) -> None:
    """Finer-Personalization Rank: mean average precision of images as queries to a gallery of identities.

    Each group of identities is a separate gallery. Every number is reported with the chance level, which
    depends only on the gallery's size, and "real": real pictures as queries, the ceiling of the encoder. With
    --gen each method gets a few pictures of an identity and draws it by ten prompts; these query a gallery of
    its other pictures. The published galleries: --groups wren tern sparrow --identities 5 --images 10 (CUB),
    --identities 15 --images 10 (Cars), --identities 10 --images 15 (re-identification).
    """
    _check(options)
    gallery, sources, results = _open(options, _plan(options))
    per_image, draw = _measure(gallery, sources, options.place, options, results)
    _publish(per_image, draw, results, options)


def _check(options: Options) -> None:
    """Raise SettingError if no gallery is given, or a number is too small."""
    from recsim_gen.core.errors import SettingError

    if options.gallery is None:
        raise SettingError("give --gallery: a folder of <identity>/<picture>, a tar, a CSV, or CUB")
    checks: dict[str, tuple[int, Sequence[int | None]]] = {
        "--identities": (2, [options.identities]),
        "--images": (1, [options.images]),
        "--subject-images": (1, [options.subject_images]),
        "--held-out": (0, [options.held_out]),
        "--draws": (1, [options.draws]),
        "--ablate-images": (1, options.ablate_images),
        "--ablate-identities": (2, options.ablate_identities),
    }
    for option, (least, values) in checks.items():
        if wrong := [value for value in values if value is not None and value < least]:
            raise SettingError(f"{option} must be {least} or more, got {wrong[0]}")


def _plan(options: Options) -> SubjectPlan | None:
    """Return the plan of what to draw, if anything; raise errors before any data is read."""
    if not options.gen:
        return None
    from recsim_gen.experiments.subjects.plan import SubjectPlan

    assert options.gallery is not None  # see _check
    return SubjectPlan.read(
        options.gen,
        gallery=options.gallery,
        models=options.models,
        device=options.place,
        prompts=options.prompts,
        images=options.subject_images,
        noun=options.noun,
        groups=options.groups,
        others=options.others,
    )


def _open(options: Options, plan: SubjectPlan | None) -> tuple[Gallery, list[Queries], Results]:
    """Return the gallery as selected, the queries of its identities, and results with notes."""
    from recsim_gen.core.randomness import Rng
    from recsim_gen.core.results import Results
    from recsim_gen.experiments.subjects.galleries import open_gallery
    from recsim_gen.metrics.identity.matching import refuse_one_identity
    from recsim_gen.metrics.identity.queries import notes_on, read_queries, refuse_doubles

    assert options.gallery is not None  # see _check
    whole = open_gallery(options.gallery, options.groups)
    sources = {source: read_queries(source, whole) for source in options.queries}
    refuse_doubles([*sources.values()], () if plan is None else plan.methods)
    rng = Rng(options.seed)
    subjects: list[Subject] = []
    if plan is not None:
        chosen = whole.only(options.groups, identities=options.identities)
        refuse_one_identity(chosen.identity, chosen.group)
        subjects, whole = plan.split(chosen, rng)
    most = None if options.images is None else options.images + options.held_out
    gallery = whole.only(options.groups, identities=options.identities, images=most, rng=rng)
    refuse_one_identity(gallery.identity, gallery.group)
    results = Results("identity", options.as_dict(), {"data": gallery.fingerprint})
    for note in gallery.notes:
        results.note(note)
    if plan is not None:
        drawn = plan.draw(subjects, options.output / "images", results, seed=options.seed)
        sources |= {label: read_queries(f"{label}={folder}", gallery) for label, folder in drawn.items()}
    kept = {name: source.of(gallery) for name, source in sources.items()}
    for name, after in kept.items():
        results.fingerprints[f"queries {name}"] = after.reader.fingerprint
        for note in notes_on(sources[name], after):
            results.note(f"{name}: {note}")
    return gallery, [*kept.values()], results


def _measure(
    gallery: Gallery, sources: list[Queries], device: str, options: Options, results: Results
) -> tuple[pd.DataFrame, Callable[[], list[Path]]]:
    """Return one row per image and encoder, and a function that draws the figures."""
    import pandas as pd

    from analysis.identity_figures import identity_figure
    from analysis.retrieved import retrieved_sheet
    from recsim_gen.core.randomness import Rng
    from recsim_gen.metrics.identity import evaluation
    from recsim_gen.metrics.identity.copies import IdentityCopies
    from recsim_gen.metrics.identity.queries import hold_out
    from recsim_gen.metrics.identity.similarity import compare_similarity

    rng, output = Rng(options.seed), options.output
    split = hold_out(gallery, options.images, rng)
    results.note(split.note)
    smaller = evaluation.Smaller(options.ablate_images, options.ablate_identities, options.draws)
    tables, encoded = [], []
    copies = IdentityCopies.of(gallery, split)
    copies.note(gallery, results)
    for encoder in options.encoder:
        queries, shown = evaluation.encode_images(gallery, sources, split, encoder, device=device)
        encoded.append((queries, shown))
        tables.append(evaluation.measure(queries, shown, results, encoder=encoder, smaller=smaller, rng=rng))
        evaluation.judge_methods(results, encoder)
        compare_similarity(results, encoder)
        copies.measure_without(queries, shown, results, encoder=encoder, rng=rng)
    evaluation.measure_noise([*queries.values()][-1], shown, results, rng=rng)

    def draw() -> list[Path]:
        title = "Whose is it? Average precision of images as queries to real pictures"
        figures = identity_figure(results, output / "identity", title=title)
        return [*figures, retrieved_sheet(*encoded[0], output / "retrieved.png")]

    return pd.concat(tables, ignore_index=True), draw


def _publish(
    per_image: pd.DataFrame, draw: Callable[[], list[Path]], results: Results, options: Options
) -> None:
    """Call `report`, and write the values of every image as CSV and to MLflow."""
    from recsim_gen.core.report import report
    from recsim_gen.core.store import atomic
    from recsim_gen.core.tracking import Tracker

    output = options.output
    results.write(output)  # before the tracker, which may fail
    with atomic(output / "per_image.csv") as temporary:
        per_image.to_csv(temporary, index=False)
    with Tracker.of("identity", options) as tracker:
        about = per_image[["file", "identity", "group"]].drop_duplicates()
        tracker.run.log_dataset("gallery", about, results.fingerprints["data"])
        report(results, tracker, output, draw=draw, metrics=PRINTED)
        tracker.run.log_table("per_image", per_image)


if __name__ == "__main__":
    raise SystemExit(run(main))
