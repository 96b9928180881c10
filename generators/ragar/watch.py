"""Monitoring of a training: fixed episodes, a held-out judge, and early stopping."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from torch import Tensor

from recsim_gen.core.progress import say
from recsim_gen.core.store import atomic, write_json

Evaluate = Callable[[int], Mapping[str, float]]
"""Returns measurements at a step: ``reward``, ``judge_reward`` if there is a judge, and more."""

BEST = "best.safetensors"


class Watch:
    """Evaluates periodically and decides when to stop.

    Rule for over-optimisation: compare the mean of the last ``patience`` evaluations with the mean of the
    ``patience`` before. If the training reward rose and the judge's fell, the training stops, and the weights
    with the judge's best evaluation are kept. Without a judge it never stops.

    Results depend only on the step and are stored in ``folder``, so that a resumed training makes the same
    decisions.
    """

    def __init__(
        self,
        folder: Path,
        evaluate: Evaluate,
        weights: Callable[[], Mapping[str, Tensor]],
        *,
        every: int,
        patience: int,
        steps: int,
    ) -> None:
        self.folder, self.evaluate, self.weights = folder, evaluate, weights
        self.every, self.patience, self.steps = every, patience, steps
        self.stopped: str | None = None

    def __call__(self, step: int) -> bool:
        """Return whether to continue after this step."""
        if step % self.every and step < self.steps:
            return True
        if not self._file(step).exists():
            self._look(step)
        evaluations = self.evaluations(step)
        self.stopped = over_optimised([numbers for _, numbers in evaluations], self.patience)
        if self.stopped:
            best = self._best(evaluations)
            say(f"ragar: stopped after {step} steps, {self.stopped}; the weights of step {best} are kept")
        return self.stopped is None

    def evaluations(self, step: int) -> list[tuple[int, dict[str, float]]]:
        """Return (step, numbers) of the evaluations up to this step."""
        files = sorted(self.folder.glob("*.json"))
        return [(int(f.stem), json.loads(f.read_text())) for f in files if int(f.stem) <= step]

    def best(self) -> dict[str, Tensor]:
        """Return the weights with the judge's best evaluation."""
        from safetensors.torch import load_file

        return load_file(self.folder / BEST)

    def _look(self, step: int) -> None:
        from safetensors.torch import save_file

        numbers = dict(self.evaluate(step))
        before = [x["judge_reward"] for _, x in self.evaluations(step) if "judge_reward" in x]
        if "judge_reward" in numbers and numbers["judge_reward"] > max(before, default=-np.inf):
            with atomic(self.folder / BEST) as temporary:  # before the numbers, which imply that it exists
                save_file({n: x.detach().cpu().contiguous() for n, x in self.weights().items()}, temporary)
        write_json(self._file(step), numbers)

    def _file(self, step: int) -> Path:
        return self.folder / f"{step:08d}.json"

    @staticmethod
    def _best(evaluations: list[tuple[int, dict[str, float]]]) -> int:
        return max(evaluations, key=lambda each: each[1]["judge_reward"])[0]


def over_optimised(evaluations: list[dict[str, float]], patience: int) -> str | None:
    """Return the reason to stop, or None; ``evaluations`` by step, rule as in `Watch`."""
    if len(evaluations) < 2 * patience or "judge_reward" not in evaluations[0]:
        return None
    means = {}
    for name in ("reward", "judge_reward"):
        values = [numbers[name] for numbers in evaluations]
        means[name] = np.mean(values[-2 * patience : -patience]), np.mean(values[-patience:])
    (reward, reward_now), (judge, judge_now) = means["reward"], means["judge_reward"]
    if reward_now > reward and judge_now < judge:
        return (
            f"over-optimised: the training reward rose from {reward:.4g} to {reward_now:.4g}, the held-out "
            f"judge's fell from {judge:.4g} to {judge_now:.4g} (means of {patience} evaluations)"
        )
    return None
