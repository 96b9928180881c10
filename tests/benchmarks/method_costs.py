"""What a picture and a step of training cost of each embedded method: seconds of one core, and peak memory.

    OMP_NUM_THREADS=1 python tests/benchmarks/method_costs.py sd pmg ragar ragar_taste

Boutique. Every method has a process of its own, which takes ``--steps`` steps of each part of its training,
one after the other, then draws ``--pictures`` pictures in the family's batches. Medians of the steps but the
first; the time of a picture is the mean. The steps of a whole training stand beside; what methods do between
steps (drawing pairs, asking for tastes) is in none of these times. A ranker that rewards is trained before.
``subject:NAME`` is a subject-driven method, for one subject of five pictures.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd

from recsim_gen.artifacts.trained_generators import chosen_episodes, make_generator, trained_generator
from recsim_gen.artifacts.training_records import peak_memory
from recsim_gen.core import training_loop
from recsim_gen.core.randomness import Rng
from recsim_gen.core.specs import JudgeSpec
from recsim_gen.datasets.episodes import training_episodes
from recsim_gen.datasets.opening import open_data
from recsim_gen.encoders.features import encode
from recsim_gen.experiments.subjects.drawing import read_subject_methods
from recsim_gen.experiments.subjects.galleries import open_gallery, open_others
from recsim_gen.experiments.subjects.splitting import all_subjects, split_subjects
from recsim_gen.judging.judges import open_judge
from recsim_gen.models.family import open_family

METHODS = [
    *("sd", "glide", "textual_inversion", "ip_adapter", "pmg", "lavit"),
    *("ragar", "ragar_taste", "ragar_dpo", "edit", "instruct_edit"),
    *("subject:dreambooth", "subject:dreambooth_lora", "subject:ip_adapter", "subject:ip_adapter_plus"),
]
OF_SUBJECTS = "subject:"
GROUP = ("bag",)
JUDGE_OF_OURS, JUDGE = "taste@boutique-clip-seed0", "micro-seed0"


class Steps:
    """Seconds of every step of every training inside, each of which ends after ``most`` steps."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._of: dict[int, tuple[training_loop.Schedule, list[float]]] = {}
        self._advance, self._done = training_loop._State.advance, training_loop._State.done

    def timed(self) -> Any:
        """Inside, trainings are short and timed."""
        state = training_loop._State
        return mock.patch.multiple(state, advance=self._timed_step(), done=self._share())

    def _timed_step(self) -> Any:
        def advance(state: Any, *args: Any) -> Any:
            start = time.perf_counter()
            losses = self._advance(state, *args)
            _, taken = self._of.setdefault(id(state.schedule), (state.schedule, []))
            taken.append(time.perf_counter() - start)
            return losses

        return advance

    def _share(self) -> Any:
        def done(state: Any, minutes: float | None) -> float:
            return 1.0 if state.step >= self.most else self._done(state, minutes)

        return done

    @property
    def parts(self) -> list[tuple[int, float]]:
        """Steps of a whole training and median seconds of one, of each part in turn."""
        return [(schedule.steps, float(np.median(s[1:] or s))) for schedule, s in self._of.values()]


def measured(method: str, steps: int, pictures: int) -> dict[str, Any]:
    """A line of the table, measured in this process."""
    clock = Steps(steps)
    measure = _of_subjects if method.startswith(OF_SUBJECTS) else _of_people
    seconds = measure(method.removeprefix(OF_SUBJECTS), clock, pictures)
    parts = clock.parts
    return {
        "method": method,
        "steps": " + ".join(f"{whole:,}" for whole, _ in parts),
        "s a step": " + ".join(f"{step:.2f}" for _, step in parts),
        "training, min": sum(whole * step for whole, step in parts) / 60,
        "s a picture": seconds / pictures,
        "peak, GiB": peak_memory(),
    }


def _of_subjects(method: str, clock: Steps, pictures: int) -> float:
    """Train a subject-driven method, its steps timed; return the seconds of drawing."""
    made = read_subject_methods([method], open_family("embedded"), "cpu")[method]
    subject = split_subjects(open_gallery(Path("boutique"), GROUP), 5, "", Rng(0))[0][0]
    with tempfile.TemporaryDirectory() as work, clock.timed():
        made.learn(all_subjects(open_others(None, GROUP), ""), rng=Rng(0), work=Path(work) / "learn")
        made.fit(subject, rng=Rng(0), work=Path(work) / "fit")
    requests = [("a {subject}", subject.images[0], Rng(k)) for k in range(pictures)]
    made.draw_each(requests[:1])  # loads what was not loaded yet
    start = time.perf_counter()
    made.draw_each(requests)
    return time.perf_counter() - start


def _of_people(method: str, clock: Steps, pictures: int) -> float:
    """Train a generator, its steps timed; return the seconds of drawing."""
    dataset = open_data("boutique")
    untrained, catalog, ranker = make_generator(method, device="cpu"), dataset.catalog, None
    if untrained.uses_ranker:
        spec = JudgeSpec(JUDGE_OF_OURS if untrained.weighs_doubt else JUDGE)
        judge = open_judge(spec, dataset, encode(dataset, dataset.encoders))
        catalog, ranker = judge.catalog, judge.ranker
    training = training_episodes(dataset)
    with tempfile.TemporaryDirectory() as cache, mock.patch.dict(os.environ, RECSIM_CACHE=cache):
        with clock.timed():  # what ends early must not be found again: it is kept elsewhere
            made = trained_generator(method, catalog, training, ranker=ranker, seed=0, device="cpu")
        episodes = chosen_episodes(dataset, pictures)[0]
        made.generate(episodes[:1], rng=Rng(0))  # loads what was not loaded yet
        start = time.perf_counter()
        made.generate(episodes, rng=Rng(0))
        return time.perf_counter() - start


def main() -> None:
    """Measure each method in a process of its own; print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("methods", nargs="*", default=METHODS)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--pictures", type=int, default=32)
    parser.add_argument("--alone", action="store_true", help="the first, in this process, as JSON")
    options = parser.parse_args()
    how = ["--steps", str(options.steps), "--pictures", str(options.pictures)]
    if options.alone:
        print(json.dumps(measured(options.methods[0], options.steps, options.pictures)))
        return
    rows = []
    for method in options.methods:
        command = [sys.executable, __file__, method, *how, "--alone"]
        out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        rows.append(json.loads(out.splitlines()[-1]))
    print(pd.DataFrame(rows).to_markdown(index=False, floatfmt=".2f"))


if __name__ == "__main__":
    main()
