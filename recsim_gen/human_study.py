"""Ask people: a page on which they sort images of several methods, and what their answers say."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from recsim_gen.core.config import run

if TYPE_CHECKING:
    import pandas as pd

    from recsim_gen.core.results import Results

INTRO = "How well do these images fit a person's taste? You help to find out."
PROMPT = "Which of these would this person like best? Put them in order"


def export(
    images: Path | None = None,
    data: str | None = None,
    data_settings: dict[str, Any] | None = None,
    questions: int = 20,
    history: int = 5,
    side: int = 320,
    title: str = "Which image fits?",
    intro: str = INTRO,
    prompt: str = PROMPT,
    seed: int = 0,
    output: Path = Path("study.html"),
    quiet: bool = False,
) -> None:
    """Write one HTML page that raters open in any browser, offline, and its key, which they do not get.

    Each question shows what a person chose before and, below, an image of each method in random
    order and without its name. Raters sort them by dragging or by keys and hand in a JSON file.

    Parameters
    ----------
    images
        Folder or tar: <method>/<question>.png, and history/<question>/<picture>.png oldest first by
        name; also the first word. Use <user id>/<item id> for a question, as generate and judge do.
    data
        Take histories from test episodes of NAME or NAME:PATH instead of the folder history.
    data_settings
        Settings of the loader: --data-settings.seed 1.
    questions
        At most so many, drawn at random; a question takes a rater about 20 seconds.
    history
        Pictures of the history to show, the last ones.
    side
        Pixels within which images are shown; smaller ones are enlarged.
    title
        Heading of the page.
    intro
        First sentence of the page.
    prompt
        What stands above the images.
    seed
        Which questions are drawn, and the codes of images.
    output
        The page; its key goes beside it (study.key.json beside study.html).
    quiet
        Print the paths only.
    """
    from recsim_gen.core.errors import SettingError
    from recsim_gen.core.progress import say
    from recsim_gen.core.randomness import Rng
    from recsim_gen.core.store import atomic, write_json
    from recsim_gen.datasets.opening import open_data
    from recsim_gen.metrics.human_study.page import make_study, read_questions

    if images is None:
        raise SettingError("give --images: a folder of <method>/<question>.png and history/<question>/")
    for name, value, least in (("questions", questions, 1), ("history", history, 1), ("side", side, 32)):
        if value < least:
            raise SettingError(f"--{name} must be {least} or more, got {value}")
    dataset = None if data is None else open_data(data, **(data_settings or {}))
    found, notes = read_questions(images, history=history, dataset=dataset)
    rng = Rng(seed).for_("human study")
    drawn = sorted(rng.for_("questions").numpy().permutation(len(found))[:questions].tolist())
    how: dict[str, Any] = {"title": title, "intro": intro, "prompt": prompt, "side": side, "rng": rng}
    study = make_study([found[k] for k in drawn], **how)
    key = key_of(output)
    write_json(key, study.key)
    with atomic(output) as temporary:
        temporary.write_text(study.page, encoding="utf-8")
    for note in notes:
        say(f"Note: {note}")
    say(f"{len(drawn):,} of {len(found):,} questions, {output.stat().st_size / 2**20:.1f} MiB")
    sys.stdout.write(f"page  {output}\nkey   {key} (raters must not see it)\n")


def key_of(page: Path) -> Path:
    """Where the key of a page lies: ``study.key.json`` beside ``study.html``."""
    return page.with_name(f"{page.stem}.key.json")


def score(
    answers: tuple[Path, ...] = (),
    key: Path = Path("study.key.json"),
    metrics: Path | None = None,
    unit: Literal["rater", "question"] = "rater",
    seed: int = 0,
    output: Path = Path("runs/human_study"),
    tracking_uri: str | None = None,
    quiet: bool = False,
) -> None:
    """Read raters' files: mean ranks, tests, how far raters agree, and which metrics agree with them.

    Friedman's test asks whether the methods differ at all, Wilcoxon's with Holm's correction which
    pairs do, Kendall's W how far raters give one order. A rater's answers are averaged first: they are
    not independent.

    Parameters
    ----------
    answers
        JSON files that raters downloaded; also the first words: score answers/*.json.
    key
        The key that export wrote beside the page.
    metrics
        CSV of numbers per image to compare with people: columns question, method, and one per metric.
    unit
        What tests and intervals take for independent: rater, to speak of other people; question, to
        speak of other questions to the same people.
    seed
        Draws of the intervals.
    output
        Folder for results.json, the figure and per_image.csv.
    tracking_uri
        MLflow store; default MLFLOW_TRACKING_URI, else mlflow.db beside the output folder.
    quiet
        Print the table and the paths only.
    """
    config = dict(locals())
    from recsim_gen.core.errors import SettingError
    from recsim_gen.core.randomness import Rng
    from recsim_gen.core.results import Results
    from recsim_gen.core.store import fingerprint
    from recsim_gen.metrics.human_study import scores
    from recsim_gen.metrics.human_study.answers import read_answers, read_key

    if not answers:
        raise SettingError("give the files that raters downloaded: score answers/*.json --key study.key.json")
    known = read_key(key)
    table = read_answers(answers, known)
    measured = None if metrics is None else scores.read_metrics(metrics)
    results = Results("human_study", config, {"study": known.study})
    results.fingerprints["answers"] = fingerprint(table.to_dict("list"))
    rng = Rng(seed)
    ranks = scores.preferences(table, unit, results, rng)
    scores.friedman(ranks, unit, results)
    scores.pairs(ranks, unit, results, rng)
    scores.raters_agree(table, results, rng)
    scores.position_bias(table, results, rng)
    if measured is not None:
        scores.metrics_agree(table, measured, results, rng)
    _note_missing(table, len(known.codes), results)
    _publish(table, results, config)


def _note_missing(answers: pd.DataFrame, questions: int, results: Results) -> None:
    raters = answers["rater"].nunique()
    given = len(answers[["rater", "question"]].drop_duplicates())
    results.note(f"{raters:,} raters, {given:,} of {raters * questions:,} answers given")


def _publish(answers: pd.DataFrame, results: Results, config: dict[str, Any]) -> None:
    """What `report` does, and people's ranks of every image as CSV and to MLflow."""
    from analysis.figures import grouped_bars
    from recsim_gen.core.report import report
    from recsim_gen.core.store import atomic
    from recsim_gen.core.tracking import Tracker
    from recsim_gen.metrics.human_study.scores import per_image

    output, images = config["output"], per_image(answers)
    draw = partial(
        grouped_bars,
        results,
        output / "mean_rank",
        title="What people prefer",
        ylabel=f"mean rank (1 is best of {answers['method'].nunique()})",
        metrics=["mean_rank"],
    )
    results.write(output)  # before a tracker is made: that may fail
    with atomic(output / "per_image.csv") as temporary:
        images.to_csv(temporary, index=False)
    with Tracker("human_study", config, output=output, uri=config["tracking_uri"]) as tracker:
        tracker.run.log_dataset("answers", answers, results.fingerprints["answers"])
        report(results, tracker, output, draw=draw, metrics=["mean_rank", "first"], digits=2)
        tracker.run.log_table("per_image", images)


if __name__ == "__main__":
    raise SystemExit(run({"export": export, "score": score}))
