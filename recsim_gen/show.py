"""Look at examples: what people chose, the reference, and what was drawn for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsim_gen.core.config import run
from recsim_gen.core.options import ExperimentOptions, ModelOptions
from recsim_gen.core.specs import JudgeSpec, RankerSpec

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray
    from PIL import Image

    from analysis.case_study import Case, Cell, Tone
    from analysis.embedding_map import EmbeddingMap
    from analysis.gallery import Person
    from recsim_gen.core.results import Results
    from recsim_gen.core.tracking import Tracker
    from recsim_gen.core.types import Catalog, Dataset, Episode
    from recsim_gen.datasets.manifests import Manifest
    from recsim_gen.experiments.methods import Method
    from recsim_gen.judging.judges import Judge
    from recsim_gen.models.family import ModelFamily

SHEET, PAGE = "case_study.png", "gallery.html"
ROWS = 8  # people on the sheet; the page has all
MOST = 200  # most people on the page: more make it too large to open


@dataclass(frozen=True, kw_only=True)
class Options(ModelOptions, ExperimentOptions):
    """Options of show.

    Parameters
    ----------
    gen
        Generators, as for evaluate: sd,pmg,ragar or name=generator:setting=value.
    checkpoint
        Trained generators: name=DIR.
    episodes
        Number of test episodes to show, the same for every generator; up to 200.
    judges
        Judges, NAME-seedN or NAME@ENCODER-seedN to train here, or folders that train_ranker wrote: their
        ranks are shown below the pictures (on the sheet only the first's). Generators that learn from a judge
        use the first, ragar_taste the first that reports its uncertainty. Default: MICRO with the seed, and a
        taste.
    seed
        Seed of generators, of their noise and of these judges.
    force
        Also accept judges that do not use images, or are blind to taste in them.
    """

    gen: tuple[str, ...] = ("sd,pmg,ragar,ragar_taste",)
    checkpoint: tuple[str, ...] = ()
    episodes: int = 40
    judges: tuple[JudgeSpec, ...] = ()
    seed: int = 0
    force: bool = False
    output: Path = Path("runs/show")


@dataclass(frozen=True)
class Drawn:
    """A generator's pictures, their numbers (see `case_studies.scores`), and the text behind each.

    ``ranks`` {judge: (B, 2)} before and after; ``scores`` has those of the first judge.
    """

    images: Manifest
    scores: pd.DataFrame
    ranks: dict[str, NDArray[Any]]
    words: list[str]


def main(options: Options) -> None:
    """Draw a page of people (gallery.html) and a sheet of the first: history, reference, generated pictures.

    Below each picture are the reference's rank before and after, and for Boutique the person's liking of it
    and what it shows. Generators are trained, and pictures drawn, unless they are cached.
    """
    from recsim_gen.artifacts.trained_generators import chosen_episodes
    from recsim_gen.artifacts.trained_rankers import log_data, prepare
    from recsim_gen.core.tracking import Tracker
    from recsim_gen.experiments.methods import check_controls
    from recsim_gen.judging.judges import log_curves

    lines, family, notes = _check(options)
    dataset, catalog, results = prepare("show", options, check=partial(check_controls, lines, family))
    for note in notes:
        results.note(note)
    judges, rewards = _judges(lines, options, dataset, catalog, results)
    episodes, _ = chosen_episodes(dataset, options.episodes)
    with Tracker.of("show", options) as tracker:
        log_data(tracker, dataset, context="evaluation")
        log_curves([*judges, *rewards.values()], tracker.run)
        drawn = _draw(lines, dataset, episodes, judges, rewards, family, options, tracker)
        _publish(drawn, dataset, catalog, episodes, family, results, tracker, options)


def _check(options: Options) -> tuple[list[Method], ModelFamily, list[str]]:
    """Return generators, models and remarks on the judges; raise errors before any data is read."""
    from recsim_gen.core.errors import SettingError
    from recsim_gen.experiments.methods import check_settings, read_methods
    from recsim_gen.experiments.rewards import rewarding_judges
    from recsim_gen.judging.judges import check_judges
    from recsim_gen.models.family import open_family

    if not 1 <= options.episodes <= MOST:
        raise SettingError(f"a page has room for 1 to {MOST} episodes, got {options.episodes}")
    lines, family = read_methods(options.gen, options.checkpoint), open_family(options.models)
    check_settings(lines, family)
    rewarding_judges(lines, _judge_specs(options))
    return lines, family, check_judges(options.judges, force=options.force)


def _judge_specs(options: Options) -> tuple[JudgeSpec, ...]:
    from recsim_gen.experiments.rewards import default_judges

    return options.judges or default_judges(RankerSpec("micro"), options.seed)


def _judges(
    lines: Sequence[Method], options: Options, dataset: Dataset, catalog: Catalog, results: Results
) -> tuple[list[Judge], dict[str, Judge]]:
    """Return the judges whose ranks are shown, and {label: judge} of generators that learn from one."""
    from recsim_gen.core.errors import SettingError
    from recsim_gen.experiments.rewards import reward_judges
    from recsim_gen.judging.judges import open_judges

    if "image" not in catalog.features:
        raise SettingError(f"rankers see pictures by an encoder, {dataset.name} names none: --encoders.image")
    specs, place = _judge_specs(options), options.place
    shown = open_judges(specs, dataset, catalog, device=place, results=results)
    rewards = reward_judges(lines, specs, dataset, catalog, results, force=options.force, device=place)
    return shown, rewards


def _draw(
    lines: Sequence[Method],
    dataset: Dataset,
    episodes: Sequence[Episode],
    judges: Sequence[Judge],
    rewards: Mapping[str, Judge],
    family: ModelFamily,
    options: Options,
    tracker: Tracker,
) -> dict[str, Drawn]:
    """Return what each generator drew, by its label."""
    from recsim_gen.artifacts.drawn_images import images_for
    from recsim_gen.core.protocols import InWords
    from recsim_gen.datasets.episodes import training_episodes
    from recsim_gen.experiments.case_studies import ranks, scores

    training = training_episodes(dataset)
    drawn = {}
    for line in lines:
        generator = line.open(
            dataset,
            training,
            judge=rewards.get(line.label),
            seed=options.seed,
            models=family,
            device=options.place,
            tracker=tracker,
        )
        images = images_for(generator, dataset, episodes, seed=options.seed)
        place = options.place
        by_judge = {judge.label: ranks(images, dataset, episodes, judge, device=place) for judge in judges}
        table = scores(images, dataset, episodes, by_judge[judges[0].label], family=family, device=place)
        words = [generator.words(e) if isinstance(generator, InWords) else "" for e in episodes]
        drawn[line.label] = Drawn(images, table, by_judge, words)
    return drawn


def _publish(
    drawn: Mapping[str, Drawn],
    dataset: Dataset,
    catalog: Catalog,
    episodes: Sequence[Episode],
    family: ModelFamily,
    results: Results,
    tracker: Tracker,
    options: Options,
) -> None:
    import pandas as pd

    from recsim_gen.core.report import report
    from recsim_gen.metrics.delta_rank import delta_r

    for label, of in drawn.items():
        table = of.scores
        numbers = {"delta_r": delta_r(table["original_rank"].to_numpy(), table["rank"].to_numpy()).mean()}
        if "utility" in table:
            numbers["utility_gained"] = (table["utility"] - table["original_utility"]).mean()
            own = dataset.catalog.categories[[e.reference for e in episodes]]
            numbers["category_kept"] = (table["reads"] == own).mean()
        for metric, value in numbers.items():
            results.row(variant=label, metric=metric, value=float(value), n=len(episodes))
        results.note(f"{label}: pictures listed in {of.images.path}")
    results.note(f"{len(episodes)} episodes are for the eye; numbers to compare come from evaluate")
    tables = [of.scores.assign(generator=label).reset_index() for label, of in drawn.items()]
    draw = partial(_pages, drawn, dataset, catalog, episodes, family, options)
    report(results, tracker, options.output, draw=draw)
    tracker.run.log_table("cases", pd.concat(tables, ignore_index=True))


def _pages(
    drawn: Mapping[str, Drawn],
    dataset: Dataset,
    catalog: Catalog,
    episodes: Sequence[Episode],
    family: ModelFamily,
    options: Options,
) -> list[Path]:
    """Draw the sheet of the first people, and the page of all."""
    from analysis.case_study import case_study
    from analysis.gallery import gallery
    from recsim_gen.experiments.case_studies import images_in, retrieved_items

    generated = {label: images_in(of.images, dataset, episodes) for label, of in drawn.items()}
    near = retrieved_items(episodes, catalog, family, device=options.place)
    rows = range(len(episodes))
    cases = [_case(k, episodes[k], near[k], drawn, generated, dataset) for k in rows[:ROWS]]
    people = [_person(k, episodes[k], near[k], drawn, generated, dataset) for k in rows]
    sheet = case_study(cases, ["reference", *drawn], options.output / SHEET)
    title = f"What was drawn for whom ({dataset.name}, {len(people)} people)"
    around = _map(drawn, dataset, catalog, episodes, options)
    return [sheet, gallery(people, options.output / PAGE, title=title, around=around)]


def _map(
    drawn: Mapping[str, Drawn],
    dataset: Dataset,
    catalog: Catalog,
    episodes: Sequence[Episode],
    options: Options,
) -> EmbeddingMap:
    """Return the map of the catalogue by image features, with the generated pictures."""
    from analysis.embedding_map import embedding_map
    from recsim_gen.experiments.case_studies import image_features, own_image
    from recsim_gen.judging.queries import MODALITY

    features = {
        label: image_features(of.images, dataset, catalog, episodes, device=options.place)
        for label, of in drawn.items()
    }
    return embedding_map(
        catalog.features[MODALITY],
        features,
        episodes,
        partial(own_image, dataset),
        catalog.titles.tolist(),
        catalog.encoder_of(MODALITY),
    )


def _case(
    k: int,
    episode: Episode,
    retrieved: set[int],
    drawn: Mapping[str, Drawn],
    generated: Mapping[str, Sequence[Image.Image]],
    dataset: Dataset,
) -> Case:
    """Return a row of the sheet."""
    from analysis.case_study import Case
    from recsim_gen.experiments.case_studies import own_image, shown_history

    scores_of = {label: of.scores.loc[[episode.id]].iloc[0] for label, of in drawn.items()}
    title = dataset.catalog.titles[episode.reference] or dataset.catalog.item_ids[episode.reference]
    history = [(own_image(dataset, row), row in retrieved) for row in shown_history(episode, retrieved)]
    cells = [_reference(own_image(dataset, episode.reference), next(iter(scores_of.values())))]
    category = str(dataset.catalog.categories[episode.reference])
    cells += [_generated(generated[label][k], row, category) for label, row in scores_of.items()]
    return Case(f"{dataset.interactions.user_ids[episode.user]}: {title}", history, cells)


def _person(
    k: int,
    episode: Episode,
    retrieved: set[int],
    drawn: Mapping[str, Drawn],
    generated: Mapping[str, Sequence[Image.Image]],
    dataset: Dataset,
) -> Person:
    """Return a card of the page."""
    from analysis import gallery
    from recsim_gen.experiments.case_studies import own_image

    catalog, row = dataset.catalog, episode.reference
    pictures, own = [], None
    for label, of in drawn.items():
        scores_of = of.scores.loc[[episode.id]].iloc[0]
        own = scores_of.get("original_utility")
        ranks = {judge: (float(x[k, 0]), float(x[k, 1])) for judge, x in of.ranks.items()}
        pictures.append(
            gallery.Drawn(label, generated[label][k], of.words[k], ranks, scores_of.get("utility"))
        )
    return gallery.Person(
        name=str(dataset.interactions.user_ids[episode.user]),
        item=str(catalog.item_ids[row]),
        title=str(catalog.titles[row]),
        caption=str(catalog.captions[row]),
        category=str(catalog.categories[row]),
        reference=own_image(dataset, row),
        history=[
            gallery.Chosen(own_image(dataset, item), str(catalog.titles[item]), item in retrieved)
            for item in episode.history
        ],
        drawn=pictures,
        liking=own,
    )


def _reference(image: Image.Image | None, said: pd.Series) -> Cell:
    from analysis.case_study import Cell

    lines: list[tuple[str, Tone]] = [(f"rank {said['original_rank']:.0f}", "plain")]
    if "utility" in said:
        lines.append((f"liking {_tenths(said['original_utility']):+.1f}", "plain"))
    return Cell(image, lines)


def _generated(image: Image.Image, said: pd.Series, category: str) -> Cell:
    from analysis.case_study import Cell

    before, after = said["original_rank"], said["rank"]
    lines: list[tuple[str, Tone]] = [(f"rank {before:.0f} to {after:.0f}", _tone(before - after))]
    if "utility" in said:
        now, gained = _tenths(said["utility"]), _tenths(said["utility"] - said["original_utility"])
        lines.append((f"liking {now:+.1f} ({gained:+.1f})", _tone(gained)))
        lines.append((f"reads as {said['reads']}", "plain" if said["reads"] == category else "bad"))
    return Cell(image, lines)


def _tenths(value: float) -> float:
    """Round to tenths; zero has no sign."""
    return round(float(value), 1) + 0.0


def _tone(gained: float) -> Tone:
    return "good" if gained > 0 else "bad" if gained < 0 else "plain"


if __name__ == "__main__":
    raise SystemExit(run(main))
