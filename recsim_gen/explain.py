"""Why would this person like this item? Captions and reasons, and whether the reasons are the true ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsim_gen.core.config import run
from recsim_gen.core.options import DataOptions, DeviceOptions, ModelOptions, RunOptions

if TYPE_CHECKING:
    import pandas as pd

    from recsim_gen.core.results import Results
    from recsim_gen.core.tracking import Tracker
    from recsim_gen.core.types import Dataset
    from recsim_gen.experiments.explanations.shop import Shop
    from recsim_gen.models.family import ModelFamily


@dataclass(frozen=True, kw_only=True)
class Options(ModelOptions, DataOptions, DeviceOptions, RunOptions):
    """Options of explain.

    Parameters
    ----------
    methods
        Explainers, separated by spaces or commas: keywords (taste keywords by the language model), counted
        (what the history has more often than the catalogue), taste (largest contributions by the taste
        model's posterior), chat (written by a chat model, --models paper), or module:Class.
    attributes
        Most attributes of an item that a reason names.
    top
        Number of colours and patterns that count as a person's true favourites (boutique).
    episodes
        Number of test choices, a random sample that is the same for every method; 0 is all.
    history
        Number of history items that methods see, the latest ones; 0 is all.
    baseline
        Row that the others are compared with, paired by choice.
    seeds
        Seeds of random reasons and of shuffled histories.
    output
        Folder for results.json, explanations.csv, examples.md and the figure.
    """

    methods: tuple[str, ...] = ("keywords,counted,taste",)
    attributes: int = 1
    top: int = 5
    episodes: int = 300
    history: int = 0
    baseline: str = "first"
    seeds: tuple[int, ...] = (0, 1, 2)
    output: Path = Path("runs/explain")


def main(options: Options) -> None:
    """Explain test choices: a caption of the item for this person, and a reason why they would like it.

    Controls: each method with another person's history (METHOD_shuffled), what everybody likes (popular), the
    first and a random attribute, and if true preferences are known the true reason (oracle). USR, FMR, FCR
    and DIV are PETER's; precision and recall compare named attributes with the person's true favourites; BLEU
    and ROUGE-L compare the caption with the item's own.
    """
    from recsim_gen.core.results import Results
    from recsim_gen.core.tracking import Tracker
    from recsim_gen.datasets.opening import open_data
    from recsim_gen.models.family import open_family

    family = open_family(options.models)
    methods = _methods(options, family)  # wrong options fail before any data is read
    dataset = open_data(options.data)
    results = Results("explain", options.as_dict(), {"data": dataset.fingerprint})
    results.fingerprints["models"] = family.fingerprint("language_model")
    shop = _shop(dataset, family, options, results)
    values = _values(methods, shop, options, results)
    results.write(options.output)  # before the tracker, which may fail
    with Tracker.of("explain", options) as tracker:
        _publish(values, shop, results, tracker, options)


def _methods(options: Options, family: ModelFamily) -> dict[str, Any]:
    """Return classes of explainers by name. Raises SettingError for unknown, repeated or invalid values."""
    from recsim_gen.core.errors import SettingError
    from recsim_gen.core.registry import EXPLAINERS, did_you_mean, resolve
    from recsim_gen.experiments.explanations.comparison import CONTROLS

    least = {"attributes": (options.attributes, 1), "top": (options.top, 1)}
    least |= {"episodes": (options.episodes, 0), "history": (options.history, 0)}
    for name, (value, low) in least.items():
        if value < low:
            raise SettingError(f"--{name} must be {low} or more{'' if low else ' (0 is all)'}, got {value}")
    names = [name for text in options.methods for name in text.split(",") if name]
    if again := [name for k, name in enumerate(names) if name in names[:k]]:
        raise SettingError(f"--methods: give each value once, got {again[0]} twice")
    if not names:
        raise SettingError(f"give --methods: {', '.join(EXPLAINERS)}")
    methods = {name: resolve(name, EXPLAINERS, "explainer") for name in names}
    if options.baseline not in (known := [*names, *CONTROLS]):
        hint = did_you_mean(options.baseline, known)
        raise SettingError(f"--baseline must be a row of the table, got {options.baseline!r}.{hint}")
    for explainer in methods.values():
        explainer.check(family)
    return methods


def _shop(dataset: Dataset, family: ModelFamily, options: Options, results: Results) -> Shop:
    """Return the data with the choices to explain, and notes on them; raise if the data do not allow it."""
    from recsim_gen.artifacts.trained_generators import chosen_episodes
    from recsim_gen.core.errors import DataError
    from recsim_gen.experiments.explanations.shop import Shop, check_texts

    chosen, lacking = chosen_episodes(dataset, options.episodes)
    if len({e.source_user for e in chosen}) < 2:
        raise DataError(
            f"test choices of two people or more are wanted, {dataset.name} has {len(chosen)} choices of "
            f"{len({e.source_user for e in chosen})}",
            remedy="Split the data otherwise: --data-settings.split leave-last-out",
        )
    if options.history:
        chosen = tuple(replace(e, history=e.history[-options.history :]) for e in chosen)
    dataset = replace(dataset, episodes=chosen)
    check_texts(dataset)
    left_out = f"{lacking:,} choices of items without picture are left out" if lacking else None
    for note in filter(None, (family.unfamiliar(dataset.name), *dataset.notes, left_out)):
        results.note(note)
    return Shop(dataset, family, options.attributes, options.place)


def _values(methods: Mapping[str, Any], shop: Shop, options: Options, results: Results) -> pd.DataFrame:
    """Return one row for every explanation of every line; set metrics go into the results."""
    import pandas as pd

    from recsim_gen.core.progress import bar
    from recsim_gen.experiments.explanations import comparison
    from recsim_gen.experiments.explanations.truth import TrueReasons

    episodes, truth = shop.dataset.episodes, TrueReasons.of(shop.dataset, options.top)
    made = {name: explainer(shop) for name, explainer in methods.items()}
    lines = list(comparison.lines(made, shop, episodes, options.seeds, truth))
    shown = bar(lines, "measuring", unit="line")
    values = pd.concat([comparison.measured(x, shop, episodes, truth) for x in shown], ignore_index=True)
    roles = {line.variant: line.role for line in lines}
    if truth is None:
        results.note("fmr, precision and recall need known tastes, which --data boutique has")
    comparison.conclude(values, roles, options.baseline, truth, results)
    return values


def _publish(values: pd.DataFrame, shop: Shop, results: Results, tracker: Tracker, options: Options) -> None:
    """Call `report`, and write every explanation as CSV and to MLflow."""
    from analysis.explanation_sheet import explanation_sheet
    from analysis.figures import grouped_bars
    from recsim_gen.artifacts.trained_rankers import log_data
    from recsim_gen.core.report import report
    from recsim_gen.core.store import atomic
    from recsim_gen.experiments.explanations.comparison import METRICS

    output, known = options.output, "fmr" in values

    def draw() -> list[Path]:
        shown = ["fmr", "precision"] if known else ["explained", "rouge_l"]
        title = f"Why would they like it? ({shop.dataset.name})"
        figures = grouped_bars(results, output / "reasons", title=title, ylabel="share", metrics=shown)
        return [*figures, explanation_sheet(values, shop, output / "examples.md")]

    with atomic(output / "explanations.csv") as temporary:
        values.to_csv(temporary, index=False)
    log_data(tracker, shop.dataset, context="evaluation")
    report(results, tracker, output, draw=draw, metrics=METRICS)
    tracker.run.log_table("explanations", values)


if __name__ == "__main__":
    raise SystemExit(run(main))
