"""What if people saw these pictures? An A/B test in a simulated shop, round by round."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from recsim_gen.core.config import run
from recsim_gen.core.options import ExperimentOptions, ModelOptions, RankerOptions
from recsim_gen.core.results import Results  # at run time: the command line resolves main's return type
from recsim_gen.core.specs import JudgeSpec, RankerSpec

if TYPE_CHECKING:
    import pandas as pd

    from recsim_gen.core.protocols import Generator
    from recsim_gen.core.tracking import Tracker
    from recsim_gen.core.types import Catalog, Dataset
    from recsim_gen.experiments.methods import Method
    from recsim_gen.experiments.simulation.arms import Arm
    from recsim_gen.experiments.simulation.measures import Meaning
    from recsim_gen.experiments.simulation.rounds import History, Shop
    from recsim_gen.experiments.simulation.rules import Rules
    from recsim_gen.models.family import ModelFamily

PEOPLE_CHOOSE = ("choices", "kept", "expected", "delivered", "disappointment", "returns")
LOG = "log.csv.gz"
LISTS_ARE = ("recall@20", "coverage", "gini", "looks", "categories")


@dataclass(frozen=True, kw_only=True)
class Options(RankerOptions, ModelOptions, ExperimentOptions):
    """Options of simulate.

    Parameters
    ----------
    arms
        original (always included), generators as in evaluate --gen, shuffled (the first generator's pictures,
        given to other people), aa (the original again, with other random numbers).
    checkpoint
        LABEL=DIR of trained generators; the others are trained here, on training choices only.
    meaning
        packaging: people choose by the picture, satisfaction depends on the item; product: people get what
        the picture shows. Both: side by side, from the same choices.
    rounds
        Number of visits of each person; the ranker is retrained after each round.
    length
        Number of items in each person's list.
    personal
        Number of places, from the top, that show an arm's pictures; the others show the items' own.
    explore
        Share of visits of the first round in which the arm whose picture is shown is random; without it a log
        has no information on other arms.
    assignment
        paired: each person is in every arm, with the same random numbers; split: each person is in one arm.
    people
        Number of people who visit, a random sample that is the same for all arms and seeds; 0 is all.
    attention
        Position bias: place k has the weight k to the minus this.
    outside
        Utility of choosing nothing; default the world's own.
    world
        module:Class of a user-defined world (see experiments.simulation.world); default Boutique's.
    trials
        Number of simulated logs to evaluate the accuracy of off-policy estimates.
    ranker
        Ranker that makes the lists and is retrained: NAME or NAME:RECIPE, or module:Class.
    judges
        Judges that generators may learn from: NAME-seedN, NAME@ENCODER-seedN or folders. A generator learns
        from the first, ragar_taste from the first that reports its uncertainty. Default: MICRO with the first
        seed, and a taste.
    force
        Also use judges that do not use images, or are blind to taste in them, as rewards.
    seeds
        Seeds of the simulation and of the rankers' training; generators use the first.
    """

    arms: tuple[str, ...] = ("original", "placebo", "oracle", "shuffled", "aa")
    checkpoint: tuple[str, ...] = ()
    meaning: tuple[Literal["packaging", "product"], ...] = ("packaging", "product")
    rounds: int = 5
    length: int = 10
    personal: int = 1
    explore: float = 0.2
    assignment: Literal["paired", "split"] = "paired"
    people: int = 0
    attention: float = 1.0
    outside: float | None = None
    world: str | None = None
    trials: int = 200
    ranker: RankerSpec = RankerSpec("taste")
    judges: tuple[JudgeSpec, ...] = ()
    force: bool = False
    seeds: tuple[int, ...] = (0, 1, 2)
    output: Path = Path("runs/simulate")


def main(options: Options) -> Results:
    """Let simulated people choose by the pictures of each arm, and report the result of the A/B test.

    In each round a ranker makes each person's list, the arm decides which picture is at the top, people
    choose by what they see or choose nothing, and the ranker is retrained. Pictures are drawn once, from what
    a person had chosen before. Rounds are cached by content, so an interrupted simulation resumes. Several
    processes (on CPUs torchrun -m …) share the drawing.
    """
    from recsim_gen.artifacts.trained_rankers import log_data, prepare
    from recsim_gen.core.processes import this_process
    from recsim_gen.core.tracking import Tracker
    from recsim_gen.experiments.simulation.log_trust import log_trust
    from recsim_gen.experiments.simulation.rounds import play

    arms, rules, family = _checked(options)  # wrong options fail before any data is read
    process = this_process()
    with process.main_process_first():  # the others load its features from the cache
        check = partial(_check_data, arms, family, options)
        dataset, catalog, results = prepare("simulate", options, check=check)
    with Tracker.of("simulate", options) if process.is_main_process else nullcontext() as tracker:
        if tracker is not None:
            log_data(tracker, dataset)
        shop = _shop(arms, rules, family, dataset, catalog, options, results, tracker)
        histories = {seed: play(shop, seed) for seed in options.seeds}
        trust = log_trust(shop, histories, logs=options.trials)  # may draw images: shared by all processes
        if tracker is not None:
            _publish(shop, histories, trust, options, results, tracker)
    return results


def _checked(options: Options) -> tuple[list[Arm], Rules, ModelFamily]:
    """Return the arms, the rules and the models; raise for unknown, invalid or repeated values."""
    from recsim_gen.core.errors import SettingError
    from recsim_gen.core.registry import resolve
    from recsim_gen.experiments.rewards import rewarding_judges
    from recsim_gen.experiments.simulation.arms import read_arms
    from recsim_gen.experiments.simulation.choice import ChoiceModel
    from recsim_gen.experiments.simulation.rules import Rules
    from recsim_gen.judging.judges import check_judges
    from recsim_gen.models.family import open_family

    if options.trials < 2:
        raise SettingError(f"trials must be 2 or more, got {options.trials}")
    rules = Rules(
        options.rounds, options.length, options.personal, options.explore, options.assignment, options.people
    )
    ChoiceModel(options.outside or 0.0, options.attention)
    if options.world is not None:
        resolve(options.world, {}, "world")
    check_judges(options.judges, force=options.force)
    family = open_family(options.models)
    arms = read_arms(options.arms, options.checkpoint, family)
    rewarding_judges(_methods(arms), _judge_specs(options))
    return arms, rules, family


def _check_data(arms: list[Arm], family: ModelFamily, options: Options, dataset: Dataset) -> None:
    """Raise errors that depend on the data, before it is encoded."""
    from recsim_gen.experiments.methods import check_controls
    from recsim_gen.experiments.simulation.world import open_world

    if options.world is None:
        open_world(None, dataset, models=family, device=options.place)
    check_controls(_methods(arms), family, dataset)


def _methods(arms: list[Arm]) -> list[Method]:
    """Return the generators of the arms, without repetitions."""
    return list({arm.method.label: arm.method for arm in arms if arm.method is not None}.values())


def _judge_specs(options: Options) -> tuple[JudgeSpec, ...]:
    from recsim_gen.experiments.rewards import default_judges

    return options.judges or default_judges(RankerSpec("micro"), options.seeds[0])


def _shop(
    arms: list[Arm],
    rules: Rules,
    family: ModelFamily,
    dataset: Dataset,
    catalog: Catalog,
    options: Options,
    results: Results,
    tracker: Tracker | None,
) -> Shop:
    """Return the shop with its generators, trained or loaded; add notes for readers."""
    from recsim_gen.experiments.simulation.arms import Showroom
    from recsim_gen.experiments.simulation.choice import ChoiceModel
    from recsim_gen.experiments.simulation.rounds import Shop
    from recsim_gen.experiments.simulation.world import open_world

    world = open_world(options.world, dataset, models=family, device=options.place)
    model = ChoiceModel(world.outside if options.outside is None else options.outside, options.attention)
    generators = _generators(arms, family, dataset, catalog, options, results, tracker)
    showroom = Showroom(generators, dataset, world, seed=options.seeds[0])
    shop = Shop(dataset, catalog, world, arms, showroom, model, options.ranker, rules, options.place)
    results.fingerprints["world"] = world.fingerprint
    results.fingerprints.update({f"generator {name}": g.fingerprint for name, g in generators.items()})
    _note(shop, results)
    if len(options.seeds) == 1:
        results.note(
            "one seed: what the ranker spreads from one person's chance to everybody's lists is in no "
            "interval; give several --seeds"
        )
    return shop


def _generators(
    arms: list[Arm],
    family: ModelFamily,
    dataset: Dataset,
    catalog: Catalog,
    options: Options,
    results: Results,
    tracker: Tracker | None,
) -> dict[str, Generator]:
    from recsim_gen.experiments.auxiliary.drawing import open_generators
    from recsim_gen.experiments.rewards import reward_judges
    from recsim_gen.judging.judges import log_curves

    methods, place = _methods(arms), options.place
    judges = reward_judges(
        methods, _judge_specs(options), dataset, catalog, results, force=options.force, device=place
    )
    if tracker is not None:
        log_curves(judges.values(), tracker.run)
    return open_generators(
        methods,
        dataset,
        judges=judges,
        family=family,
        seed=options.seeds[0],
        device=place,
        tracker=tracker,
    )


def _note(shop: Shop, results: Results) -> None:
    """Add notes on the world and its rules."""
    rules, choice = shop.rules, shop.choice
    places = "the first place" if rules.personal == 1 else f"the first {rules.personal} places"
    results.note(
        f"{len(shop.visitors):,} people, {rules.rounds} rounds, lists of {rules.length}; the arm's pictures "
        f"stand at {places}, drawn from what each person had chosen before"
    )
    results.note(
        f"world {shop.world.name}: not to choose is worth {choice.outside:g}, place k has the weight "
        f"k^-{choice.attention:g}; {shop.world.misread():.1%} of real pictures are read wrong"
    )
    if rules.explore:
        results.note(
            f"in {rules.explore:.0%} of the first round's visits chance decided which arm's picture is seen: "
            "the ranker learns from them, choices and liking are of the other visits"
        )
    results.note(
        "packaging: sent back is what would have been left for choosing nothing, had it been seen as it is "
        "(by the same chance)"
    )


def _publish(
    shop: Shop,
    histories: dict[int, list[History]],
    trust: pd.DataFrame,
    options: Options,
    results: Results,
    tracker: Tracker,
) -> None:
    """Add rows and verdicts, rounds and off-policy estimates, and call `report`."""
    from recsim_gen.core.report import report
    from recsim_gen.core.table import table
    from recsim_gen.experiments.auxiliary.features import ORIGINAL
    from recsim_gen.experiments.simulation.conclusions import conclude, outcomes, round_table
    from recsim_gen.experiments.simulation.log_table import log_table
    from recsim_gen.experiments.simulation.log_trust import add_rows, markdown

    output = options.output
    values = outcomes(shop, histories, options.meaning)
    conclude(values, options.seeds, results)
    if len(trust):
        add_rows(trust, ORIGINAL, results, seeds=len(options.seeds))
    else:
        results.note("off-policy estimates need paired arms and a share of visits to explore: none are given")
    rounds = round_table(values)
    _log_rounds(rounds, tracker)
    one = replace(results, rows=[row for row in results.rows if row.get("meaning") == options.meaning[0]])
    texts = {"off_policy.md": markdown(trust, ORIGINAL)} if len(trust) else {}
    body = "\n\n".join(
        [
            table(results, metrics=PEOPLE_CHOOSE),
            table(one, metrics=LISTS_ARE),
            *(t.strip() for t in texts.values()),
        ]
    )
    tables = {"rounds.csv": rounds, "off_policy.csv": trust, LOG: log_table(shop, histories)}
    draw = partial(_draw, values[0].meaning, tables, texts, output)
    report(results, tracker, output, draw=draw, metrics=PEOPLE_CHOOSE, body=body)
    tracker.run.log_table("rounds", rounds)
    tracker.run.log_table("off_policy", trust)


def _log_rounds(rounds: pd.DataFrame, tracker: Tracker) -> None:
    """Log the curve of every measure to the child run of its arm."""
    for (arm, meaning), rows in rounds.groupby(["variant", "meaning"], sort=False):
        for number, of_round in rows.groupby("round"):
            numbers = dict(zip(of_round["metric"], of_round["value"], strict=True))
            named = {f"round/{meaning}/{metric}": float(value) for metric, value in numbers.items()}
            tracker.child(str(arm)).log_metrics(named, step=int(str(number)))


def _draw(
    meaning: Meaning, tables: dict[str, pd.DataFrame], texts: dict[str, str], output: Path
) -> list[Path]:
    """Draw the figure over rounds; write all rounds, estimates and visits as tables."""
    from analysis.simulation_figures import round_curves
    from recsim_gen.core.store import atomic

    panels = {
        "choices a visit": (meaning, "choices"),
        f"liking of what came ({meaning})": (meaning, "delivered"),
        f"sent back ({meaning})": (meaning, "returns"),
        "recall@20 of the ranker that learned": (meaning, "recall@20"),
        "effective number of categories on a list": (meaning, "categories"),
        "coverage of the catalogue": (meaning, "coverage"),
    }
    title = "What if people saw these pictures?"
    paths = round_curves(tables["rounds.csv"], output / "rounds", title=title, panels=panels)
    for name, frame in tables.items():
        with atomic(output / name) as temporary:
            packed: Any = {"method": "gzip", "mtime": 0} if name == LOG else None  # equal logs, equal bytes
            frame.to_csv(temporary, index=False, compression=packed)
        paths.append(output / name)
    for name, text in texts.items():
        with atomic(output / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
        paths.append(output / name)
    return paths


if __name__ == "__main__":
    raise SystemExit(run(main, shared=True))
