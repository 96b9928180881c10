"""Training loop of all parts of a family; it can be killed at any time and resumes exactly.

A step depends on the seed and its number only, so a killed and resumed run ends with the same weights as any
other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsim_gen.core.errors import DataError
from recsim_gen.core.processes import Team, check_batches
from recsim_gen.core.progress import bar, quietly, say
from recsim_gen.core.randomness import Rng
from recsim_gen.core.store import atomic, fingerprint

if TYPE_CHECKING:
    import torch

    from recsim_gen.core.protocols import TrainingTracker

SECONDS_BETWEEN_CHECKPOINTS = 60.0

Watch = Callable[[int], bool]
"""Called with the number of steps done: before the first step, between steps and at the end.

Training ends if it returns False.
"""

Loss = Callable[[Rng], Mapping[str, "torch.Tensor"]]
"""Returns the losses of one step, of which ``loss`` is minimised; draws batch and noise from its stream."""


@dataclass(frozen=True)
class Schedule:
    """Length and learning rate of AdamW: the rate rises over ``warmup`` steps, then falls linearly to 0."""

    steps: int
    lr: float
    warmup: int = 0
    weight_decay: float = 0.01
    clip: float = 1.0  # maximal norm of the gradient
    ema: float | None = None  # decay of the running mean of the weights, which is the result; None: no mean
    accumulate: int = 1  # batches per step: gradients are averaged, and processes share the batches
    log_every: int = 50


@contextmanager
def seeded(rng: Rng, device: str = "cpu") -> Iterator[None]:
    """Seed torch's global generators from this stream inside.

    Those of the CPU and of ``device`` are restored afterwards.
    """
    import torch

    on_gpu = torch.device(device).type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_gpu else []):
        torch.manual_seed(rng.integer())
        yield


def fit(
    part: str,
    model: torch.nn.Module,
    loss: Loss,
    schedule: Schedule,
    *,
    output: Path,
    data: str,
    rng: Rng,
    minutes: float | None = None,
    tracker: TrainingTracker | None = None,
    watch: Watch | None = None,
) -> dict[str, Any]:
    """Train ``model`` in place.

    Inside `working_together`, all processes call this alike and share the batches of each step; weights are
    equal in all, and up to rounding those of one process. The checkpoint is named by data, schedule, seed and
    shapes, so that another one is not loaded; `forget` removes it once the result is saved.

    Parameters
    ----------
    part
        Name of the part, for progress bar, tracker and checkpoint.
    model
        The module to train.
    loss
        Function of the step's stream that returns {name: scalar}, ``loss`` among them.
    schedule
        Number of steps, learning rate and batches per step.
    output
        Folder of the family; the checkpoint is in its ``.checkpoints``.
    data
        Fingerprint of the training data.
    rng
        Stream of the part: step k draws from ``rng.for_("step", k)``.
    minutes
        Wall time after which training ends, instead of ``schedule.steps``; the learning rate then falls with
        the elapsed time.
    tracker
        Its child run ``part`` logs the losses.
    watch
        Called between steps; may end the training.

    Returns
    -------
    dict
        ``steps``, ``seconds``, the last means of the losses, ``schedule``.

    Raises
    ------
    SettingError
        If there are more processes than batches.
    """
    team = Team()
    check_batches(schedule.accumulate, team.count)
    state = _State(model, schedule, team)
    key = fingerprint(part, schedule, data, rng, minutes, [list(p.shape) for p in model.parameters()])
    path = _checkpoint(output, part, key)
    if team.agreed(path.exists):
        state.load(path)
        say(f"{part}: goes on at step {state.step}")
    start, saved = time.monotonic() - state.seconds, time.monotonic()

    def share_done() -> float:
        return state.done(minutes) if watch is None or watch(state.step) else 1

    total = schedule.steps if minutes is None else None
    with quietly(not team.is_main_process), bar(what=part, total=total, unit="step") as shown:
        shown.update(state.step)
        while (done := team.agreed(share_done)) < 1:
            losses = state.advance(loss, rng.for_("step", state.step), done)
            state.seconds = time.monotonic() - start
            state.count(losses)
            shown.update()
            if state.step % schedule.log_every == 0:
                shown.set_postfix({k: f"{v:.4g}" for k, v in state.means.items()}, refresh=False)
                if tracker is not None and team.is_main_process:
                    tracker.child(part).log_epoch(state.step, state.means)
            if time.monotonic() - saved > SECONDS_BETWEEN_CHECKPOINTS:
                state.save(path)
                saved = time.monotonic()
    state.save(path)  # at the end too: what follows may be killed
    state.finish()
    means = {name: round(value, 6) for name, value in state.means.items()}
    return {"steps": state.step, "seconds": round(state.seconds, 1), **means, "schedule": asdict(schedule)}


def forget(output: Path, part: str) -> None:
    """Remove the checkpoints of a finished part."""
    if not Team().is_main_process:
        return
    folder = output / ".checkpoints"
    for path in folder.glob(f"{part}-*.pt"):
        path.unlink()
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _checkpoint(output: Path, part: str, key: str) -> Path:
    return output / ".checkpoints" / f"{part}-{key}.pt"


class _State:
    """Everything that a step changes."""

    def __init__(self, model: torch.nn.Module, schedule: Schedule, team: Team) -> None:
        import torch

        self.model, self.schedule, self.team = model.train(), schedule, team
        self.optimiser = torch.optim.AdamW(
            model.parameters(), lr=schedule.lr, weight_decay=schedule.weight_decay
        )
        self.ema = [p.detach().clone() for p in model.parameters()] if schedule.ema else []
        self.step, self.seconds = 0, 0.0
        self.means: dict[str, float] = {}

    def done(self, minutes: float | None) -> float:
        """Return the share of the training that is done, 1 at the end."""
        return self.step / self.schedule.steps if minutes is None else self.seconds / (60 * minutes)

    def advance(self, loss: Loss, rng: Rng, done: float) -> dict[str, float]:
        """Take one step of the optimiser; return the losses."""
        import torch

        rising = min(1.0, (self.step + 1) / (self.schedule.warmup + 1))
        for group in self.optimiser.param_groups:
            group["lr"] = self.schedule.lr * rising * (1 - done)
        self.optimiser.zero_grad(set_to_none=True)
        parts = [
            self._backward(loss, rng if batch == 0 else rng.for_("batch", batch))
            for batch in range(self.team.index, self.schedule.accumulate, self.team.count)
        ]
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        losses = torch.tensor([[*part.values()] for part in parts], dtype=torch.float64).sum(0)
        self.team.add(gradients)
        self.team.add([losses])
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.schedule.clip)
        self.optimiser.step()
        self.step += 1
        if self.schedule.ema:
            decay = min(self.schedule.ema, (1 + self.step) / (10 + self.step))  # forgets the start quickly
            torch._foreach_lerp_(self.ema, [p.detach() for p in self.model.parameters()], 1 - decay)
        return dict(zip(parts[0], (losses / self.schedule.accumulate).tolist(), strict=True))

    def _backward(self, loss: Loss, rng: Rng) -> dict[str, float]:
        """Add a batch's part to the gradient; return its losses."""
        with seeded(rng.for_("global")):
            losses = loss(rng)
            (losses["loss"] / self.schedule.accumulate).backward()
        return {name: float(value.detach()) for name, value in losses.items()}

    def count(self, losses: Mapping[str, float]) -> None:
        """Update the losses' running means over about ``log_every`` steps."""
        horizon = min(self.step, self.schedule.log_every)
        old = self.means or losses
        self.means = {name: old[name] + (value - old[name]) / horizon for name, value in losses.items()}

    def save(self, path: Path) -> None:
        """Write everything atomically, in the main process."""
        import torch

        if not self.team.is_main_process:
            return
        state = {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "ema": self.ema,
            "step": self.step,
            "seconds": self.seconds,
            "means": self.means,
        }
        with atomic(path) as temporary:
            torch.save(state, temporary)

    def load(self, path: Path) -> None:
        """Load what `save` wrote; raise DataError for anything else."""
        import pickle

        import torch

        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            self.model.load_state_dict(state["model"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.ema, self.means = state["ema"], state["means"]
            self.step, self.seconds = state["step"], state["seconds"]
        except (RuntimeError, EOFError, OSError, pickle.UnpicklingError, LookupError, TypeError) as error:
            remedy = "Delete it; the part is then trained from the start"
            raise DataError(
                f"want a checkpoint of this training, got a broken file or another's ({error})",
                file=path,
                remedy=remedy,
            ) from error

    def finish(self) -> None:
        """Replace the weights by their running mean, if there is one; switch to evaluation mode."""
        import torch

        with torch.no_grad():
            for parameter, mean in zip(self.model.parameters(), self.ema, strict=False):
                parameter.copy_(mean)
        self.model.eval()
