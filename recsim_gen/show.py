"""Look before you count: for a few people, what they chose, what they get next, and what was drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsim_gen.core.config import run

if TYPE_CHECKING:
    import pandas as pd

    from analysis.case_study import Cell, Tone
    from recsim_gen.core.protocols import Ranker
    from recsim_gen.core.results import Results
    from recsim_gen.core.tracking import Tracker
    from recsim_gen.core.types import Catalog, Dataset, Episode
    from recsim_gen.experiments.contenders import Contender
    from recsim_gen.models.family import ModelFamily

SHEET = "case_study.png"


def main(
    gen: tuple[str, ...] = ("sd,pmg,ragar",),
    checkpoint: tuple[str, ...] = (),
    data: str = "boutique",
    data_settings: dict[str, Any] | None = None,
    encoders: dict[str, str] | None = None,
    models: str = "embedded",
    episodes: int = 8,
    ranker: Path | None = None,
    seed: int = 0,
    force: bool = False,
    output: Path = Path("runs/show"),
    device: str = "cpu",
    tracking_uri: str | None = None,
    quiet: bool = False,
) -> None:
    """Draw the case-study sheet: history with what was retrieved, reference, each generator's picture.

    Below each picture stand the reference's rank before and after, and on Boutique what the person would
    think of it and what it shows. Generators are trained, and pictures drawn, unless that was done before.

    Parameters
    ----------
    gen
        Generators, as for evaluate: sd,pmg,ragar or name=generator:setting=value.
    checkpoint
        Trained generators: name=DIR.
    data
        Whose episodes: NAME or NAME:PATH (boutique, movielens:DIR).
    data_settings
        Settings of the loader: --data-settings.captions FILE.
    encoders
        Encoder of each modality, as the ranker was trained with.
    models
        Family of models: embedded, paper, FOLDER or FILE.yaml.
    episodes
        Test episodes to show, the same for every generator; up to 40.
    ranker
        Folder that train_ranker wrote; default MICRO, trained here with the seed.
    seed
        Of generators, of their noise and of that MICRO.
    force
        Take the ranker even if training found that it does not use images.
    output
        Folder for the sheet and results.json.
    device
        Where models run: cpu, cuda.
    tracking_uri
        MLflow store; default MLFLOW_TRACKING_URI, else mlflow.db beside the output folder.
    quiet
        Print the table and the paths only.
    """
    config = dict(locals())
    from recsim_gen.artifacts.trained_generators import chosen_episodes
    from recsim_gen.artifacts.trained_rankers import log_data, prepare
    from recsim_gen.core.tracking import Tracker

    lines, family, notes = _check(config)
    dataset, catalog, results = prepare("show", config)
    for note in notes:
        results.note(note)
    judge = _ranker(config, dataset, catalog, results)
    chosen, _ = chosen_episodes(dataset, episodes)
    with Tracker("show", config, output=output, uri=tracking_uri) as tracker:
        log_data(tracker, dataset, context="evaluation")
        found = _draw(lines, dataset, catalog, chosen, judge, family, config, tracker)
        _publish(found, dataset, catalog, chosen, family, results, tracker, config)


def _check(config: dict[str, Any]) -> tuple[list[Contender], ModelFamily, list[str]]:
    """Generators, models and what is known of the ranker; errors before any data is read."""
    from recsim_gen.core.errors import SettingError
    from recsim_gen.experiments.contenders import check_settings, contenders
    from recsim_gen.judging.reward_ranker import check_rankers
    from recsim_gen.models.family import open_family

    if not 1 <= config["episodes"] <= 40:
        raise SettingError(f"a sheet has room for 1 to 40 episodes, got {config['episodes']}")
    lines, family = contenders(config["gen"], config["checkpoint"]), open_family(config["models"])
    check_settings(lines, family)
    return lines, family, check_rankers(config["ranker"], force=config["force"])


def _ranker(config: dict[str, Any], dataset: Dataset, catalog: Catalog, results: Results) -> Ranker:
    from recsim_gen.artifacts.checkpoints import load_ranker
    from recsim_gen.artifacts.trained_rankers import trained_ranker
    from recsim_gen.core.errors import SettingError
    from recsim_gen.judging.modality_use import gate

    if "image" not in catalog.features:
        raise SettingError(f"rankers see pictures by an encoder, {dataset.name} names none: --encoders.image")
    chosen = dataset.interactions
    if config["ranker"] is not None:
        ranker = load_ranker(config["ranker"], catalog, chosen, device=config["device"])
    else:
        ranker = trained_ranker("micro", None, catalog, chosen, seed=config["seed"], device=config["device"])
        results.note(str(gate(None, f"micro-seed{config['seed']}")))
    results.fingerprints["ranker"] = ranker.fingerprint
    return ranker


def _draw(
    lines: Sequence[Contender],
    dataset: Dataset,
    catalog: Catalog,
    episodes: Sequence[Episode],
    ranker: Ranker,
    family: ModelFamily,
    config: dict[str, Any],
    tracker: Tracker,
) -> dict[str, tuple[Path, pd.DataFrame]]:
    """{generator: its pictures and what is said of them}."""
    from recsim_gen.artifacts.drawn_images import pictures_for
    from recsim_gen.artifacts.trained_rankers import chosen_encoders
    from recsim_gen.datasets.episodes import training_episodes
    from recsim_gen.experiments.case_studies import scores

    encoder, seed, device = chosen_encoders(dataset, config)["image"], config["seed"], config["device"]
    training = training_episodes(dataset)
    how: dict[str, Any] = {"seed": seed, "models": family, "device": device, "tracker": tracker}
    found = {}
    for line in lines:
        generator = line.open(catalog, training, ranker=ranker, **how)
        folder = pictures_for(generator, dataset, episodes, seed=seed)
        told = scores(
            folder, dataset, catalog, episodes, ranker, encoder=encoder, family=family, device=device
        )
        found[line.label] = folder, told
    return found


def _publish(
    found: Mapping[str, tuple[Path, pd.DataFrame]],
    dataset: Dataset,
    catalog: Catalog,
    episodes: Sequence[Episode],
    family: ModelFamily,
    results: Results,
    tracker: Tracker,
    config: dict[str, Any],
) -> None:
    import pandas as pd

    from recsim_gen.core.report import report
    from recsim_gen.metrics.delta_rank import delta_r

    for label, (folder, told) in found.items():
        numbers = {"delta_r": delta_r(told["original_rank"].to_numpy(), told["rank"].to_numpy()).mean()}
        if "utility" in told:
            numbers["utility_gained"] = (told["utility"] - told["original_utility"]).mean()
            own = dataset.catalog.categories[[e.reference for e in episodes]]
            numbers["category_kept"] = (told["reads"] == own).mean()
        for metric, value in numbers.items():
            results.row(variant=label, metric=metric, value=float(value), n=len(episodes))
        results.note(f"{label}: pictures in {folder}")
    results.note(f"{len(episodes)} episodes are for the eye; numbers to compare come from evaluate")
    tables = [told.assign(generator=label).reset_index() for label, (_, told) in found.items()]
    draw = partial(_sheet, found, dataset, catalog, episodes, family, config)
    report(results, tracker, config["output"], draw=draw)
    tracker.run.log_table("cases", pd.concat(tables, ignore_index=True))


def _sheet(
    found: Mapping[str, tuple[Path, pd.DataFrame]],
    dataset: Dataset,
    catalog: Catalog,
    episodes: Sequence[Episode],
    family: ModelFamily,
    config: dict[str, Any],
) -> list[Path]:
    from analysis.case_study import Case, case_study
    from recsim_gen.experiments.case_studies import pictures_in, retrieved_items, shown_history

    images = dataset.catalog.images
    drawn = {label: pictures_in(folder, dataset, episodes) for label, (folder, _) in found.items()}
    near = retrieved_items(episodes, catalog, family, device=config["device"])

    def picture(row: int) -> Any:
        return images.read(row) if images is not None and images.present[row] else None

    cases = []
    for k, (episode, retrieved) in enumerate(zip(episodes, near, strict=True)):
        tables = {label: told.loc[[episode.id]].to_dict("records")[0] for label, (_, told) in found.items()}
        title = dataset.catalog.titles[episode.reference] or dataset.catalog.item_ids[episode.reference]
        history = [(picture(row), row in retrieved) for row in shown_history(episode, retrieved)]
        cells = [_reference(picture(episode.reference), next(iter(tables.values())))]
        category = str(dataset.catalog.categories[episode.reference])
        cells += [_generated(drawn[label][k], told, category) for label, told in tables.items()]
        cases.append(Case(f"{dataset.interactions.user_ids[episode.user]}: {title}", history, cells))
    return [case_study(cases, ["reference", *found], config["output"] / SHEET)]


def _reference(picture: Any, told: Mapping[Any, Any]) -> Cell:
    from analysis.case_study import Cell

    lines: list[tuple[str, Tone]] = [(f"rank {told['original_rank']:.0f}", "plain")]
    if "utility" in told:
        lines.append((f"liking {_tenths(told['original_utility']):+.1f}", "plain"))
    return Cell(picture, lines)


def _generated(picture: Any, told: Mapping[Any, Any], category: str) -> Cell:
    from analysis.case_study import Cell

    before, after = told["original_rank"], told["rank"]
    lines: list[tuple[str, Tone]] = [(f"rank {before:.0f} to {after:.0f}", _tone(before - after))]
    if "utility" in told:
        now, gained = _tenths(told["utility"]), _tenths(told["utility"] - told["original_utility"])
        lines.append((f"liking {now:+.1f} ({gained:+.1f})", _tone(gained)))
        lines.append((f"reads as {told['reads']}", "plain" if told["reads"] == category else "bad"))
    return Cell(picture, lines)


def _tenths(value: float) -> float:
    """Rounded; zero has no sign."""
    return round(float(value), 1) + 0.0


def _tone(gained: float) -> Tone:
    return "good" if gained > 0 else "bad" if gained < 0 else "plain"


if __name__ == "__main__":
    raise SystemExit(run(main))
