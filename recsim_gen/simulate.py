"""What if people saw these pictures? An A/B test in a simulated shop, round by round."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from recsim_gen.core.config import run
from recsim_gen.core.options import ExperimentOptions, ModelOptions, RankerOptions
from recsim_gen.core.results import Results  # the command line reads the type of what main gives
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
        original (always there), generators as in evaluate --gen, shuffled (the first generator's pictures,
        given to other people), aa (the original again, with other random numbers).
    checkpoint
        LABEL=DIR of trained generators; the others are trained here, on training choices alone.
    meaning
        packaging: the choice follows the picture, satisfaction the item; product: what is seen is delivered.
        Both: side by side, from the same choices.
    rounds
        How often everybody visits; the ranker learns from each round before the next.
    length
        Items of each person's list.
    personal
        Places, from the top, at which an arm's pictures stand; the others show the items' own.
    explore
        Share of the first round's visits in which chance decides which arm's picture is shown; without it no
        log says anything of another arm.
    assignment
        paired: everybody lives in every arm, with the same random numbers; split: each person in one arm.
    people
        How many people visit, drawn at random, the same for all arms and seeds; 0 is everybody.
    attention
        Position bias: place k has the weight k to the minus this.
    outside
        Worth of not choosing, in units of utility; default the world's own.
    world
        module:Class of a world of one's own (see experiments.simulation.world); default Boutique's.
    trials
        Logs that are simulated to see how far off-policy estimates can be trusted.
    ranker
        What makes the lists and learns after each round: NAME or NAME:RECIPE, or module:Class.
    judges
        What generators learn from that learn from a ranker: NAME-seedN, NAME@ENCODER-seedN or folders; the
        first, and for ragar_taste the first that says how sure it is. Default MICRO with the first seed, and
        a taste.
    force
        Reward with judges that do not use images or are blind among them, too.
    seeds
        Of chance and of the rankers' training; generators are trained and draw with the first.
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
    """Let simulated people choose by the pictures of each arm, and say what an A/B test would say.

    In each round a ranker makes everybody's list, the arm decides which picture stands at the top, people
    choose by what they see or choose nothing, and the ranker learns from it. Pictures are drawn once, from
    what a person had chosen before. Rounds are kept by their content: killed, it goes on where it was.
    Several processes (on CPUs torchrun -m …) share the drawing.
    """
    from recsim_gen.artifacts.trained_rankers import log_data, prepare
    from recsim_gen.core.processes import this_process
    from recsim_gen.core.tracking import Tracker
    from recsim_gen.experiments.simulation.log_trust import log_trust
    from recsim_gen.experiments.simulation.rounds import play

    arms, rules, family = _checked(options)  # a wrong option is told before any data is read
    process = this_process()
    with process.main_process_first():  # the others load what it has encoded
        check = partial(_check_data, arms, family, options)
        dataset, catalog, results = prepare("simulate", options, check=check)
    with Tracker.of("simulate", options) if process.is_main_process else nullcontext() as tracker:
        if tracker is not None:
            log_data(tracker, dataset)
        shop = _shop(arms, rules, family, dataset, catalog, options, results, tracker)
        histories = {seed: play(shop, seed) for seed in options.seeds}
        trust = log_trust(shop, histories, logs=options.trials)  # which may draw: every process shares it
        if tracker is not None:
            _publish(shop, histories, trust, options, results, tracker)
    return results


def _checked(options: Options) -> tuple[list[Arm], Rules, ModelFamily]:
    """The arms, the rules and the models; errors for what is unknown, out of range or given twice."""
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
    """Errors for what the data cannot give, before it is encoded."""
    from recsim_gen.experiments.methods import check_controls
    from recsim_gen.experiments.simulation.world import open_world

    if options.world is None:
        open_world(None, dataset, models=family, device=options.place)
    check_controls(_methods(arms), family, dataset)


def _methods(arms: list[Arm]) -> list[Method]:
    """The generators of the arms, each once."""
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
    """The shop with its generators, trained or loaded; what its readers must know is noted."""
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
    """What the reader of the numbers must know of the world and its rules."""
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
    """Rows and verdicts, the rounds, what logs say of other arms, and what `report` does."""
    from recsim_gen.core.report import report
    from recsim_gen.core.table import table
    from recsim_gen.experiments.auxiliary.features import ORIGINAL
    from recsim_gen.experiments.simulation.conclusions import conclude, outcomes, round_table
    from recsim_gen.experiments.simulation.log_table import log_table
    from recsim_gen.experiments.simulation.log_trust import add_rows, markdown

    output = options.output
    found = outcomes(shop, histories, options.meaning)
    conclude(found, options.seeds, results)
    if len(trust):
        add_rows(trust, ORIGINAL, results, seeds=len(options.seeds))
    else:
        results.note("off-policy estimates need paired arms and a share of visits to explore: none are given")
    rounds = round_table(found)
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
    draw = partial(_draw, found[0].meaning, tables, texts, output)
    report(results, tracker, output, draw=draw, metrics=PEOPLE_CHOOSE, body=body)
    tracker.run.log_table("rounds", rounds)
    tracker.run.log_table("off_policy", trust)


def _log_rounds(rounds: pd.DataFrame, tracker: Tracker) -> None:
    """The curve of every measure to the child run of its arm."""
    for (arm, meaning), rows in rounds.groupby(["variant", "meaning"], sort=False):
        for number, of_round in rows.groupby("round"):
            numbers = dict(zip(of_round["metric"], of_round["value"], strict=True))
            named = {f"round/{meaning}/{metric}": float(value) for metric, value in numbers.items()}
            tracker.child(str(arm)).log_metrics(named, step=int(str(number)))


def _draw(
    meaning: Meaning, tables: dict[str, pd.DataFrame], texts: dict[str, str], output: Path
) -> list[Path]:
    """The figure over rounds; all rounds, estimates and visits as tables."""
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
