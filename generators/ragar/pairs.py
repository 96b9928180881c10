"""Pairs of images ordered by a judge: training data for preference learning."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from generators.ragar.keyword_policy import draw_actions
from recsim_gen.core.errors import DataError
from recsim_gen.core.processes import Team
from recsim_gen.core.progress import bar
from recsim_gen.core.store import atomic, fingerprint

if TYPE_CHECKING:
    from generators.denoising import Denoising
    from generators.ragar.action import TrainingContext
    from generators.ragar.judge import PictureJudge
    from generators.ragar.keyword_action import KeywordAction
    from recsim_gen.core.randomness import Rng
    from recsim_gen.core.types import Episode


@dataclass(frozen=True, eq=False)
class Pairs:
    """P pairs: ``texts`` that both images are drawn from, ``latents`` (P, 2, c, h, w), the better first."""

    texts: list[str]
    latents: Tensor


class PairDrawing:
    """Draws images of training episodes and keeps the judge's best and worst of each.

    Parameters
    ----------
    action
        Its policy selects one look per episode, which is drawn several times from other latents.
    denoising
        The model that draws, before its training.
    judge
        Orders the images of an episode: by scores if the reward is of ranks, else by lower bounds.
    episodes
        Training episodes.
    """

    def __init__(
        self, action: KeywordAction, denoising: Denoising, judge: PictureJudge, episodes: Sequence[Episode]
    ) -> None:
        self.action, self.denoising, self.judge, self.episodes = action, denoising, judge, episodes

    def __call__(self, count: int, run: TrainingContext) -> Pairs:
        """Return ``count`` pairs, without those that the judge cannot distinguish.

        They are drawn in parts, which processes share and which an interrupted training reuses. Raises
        DataError if the judge distinguishes no pair.
        """
        rng, size, team = run.rng.for_("pairs"), self.action.config.batch_size, Team()
        order = rng.numpy().permutation(len(self.episodes))
        folder = _folder(run)
        files = [folder / f"{start:08d}.npz" for start in range(0, count, size)]
        for file in bar(files[team.index :: team.count], "pairs", unit="batch"):
            if not file.exists():
                numbers = range(int(file.stem), min(int(file.stem) + size, count))
                episodes = [self.episodes[order[number % len(order)]] for number in numbers]
                _write(file, *self._part(episodes, [rng.for_("pair", number) for number in numbers]))
        team.wait()
        texts, latents = zip(*map(_read, files), strict=True)
        pairs = Pairs([text for part in texts for text in part], torch.cat(latents))
        if not pairs.texts:
            raise DataError(
                f"pictures that the judge tells apart are wanted, it finds all of {count} episodes alike",
                remedy="Give a judge that looks at pictures",
            )
        return pairs

    def _part(self, episodes: Sequence[Episode], streams: Sequence[Rng]) -> tuple[list[str], Tensor]:
        """Return texts and latents (B, 2, c, h, w) of those pairs that the judge distinguishes."""
        action, sampler, count = self.action, self.denoising.sampler, self.action.config.samples
        looks = action.evidence.looks(episodes)
        chosen = draw_actions(action.log_policy(looks), 1, [s.for_("look").torch() for s in streams])
        texts = [
            action.evidence.text(episode.reference, one.keywords[c])
            for episode, one, c in zip(episodes, looks, chosen[:, 0].tolist(), strict=True)
        ]
        states = sampler.states(texts).repeat_interleave(count, 0)
        noise = [stream.for_("picture", t) for stream in streams for t in range(count)]
        pixels = sampler.draw(states, noise).unflatten(0, (len(episodes), count))
        judged = self.judge.scores if action.config.reward == "rank" else self.judge.bounds
        score, _ = judged(episodes, pixels)
        differing = torch.nonzero(score.amax(1) > score.amin(1))[:, 0]
        both = torch.stack([score.argmax(1), score.argmin(1)], 1)[differing]
        pair = pixels[differing[:, None], both]
        if not len(differing):
            return [], torch.empty(0, 2, *sampler.latent_shape)
        latents = self.denoising.encoded(pair.flatten(0, 1), streams[0].for_("encoded").torch())
        return [texts[row] for row in differing.tolist()], latents.unflatten(0, (len(differing), 2)).cpu()


def forget_pairs(run: TrainingContext) -> None:
    """Remove the pairs of a finished training."""
    if Team().is_main_process:
        shutil.rmtree(_folder(run), ignore_errors=True)


def _folder(run: TrainingContext) -> Path:
    return run.folder / f"pairs-{fingerprint(run.data, run.rng)}"


def _write(file: Path, texts: Sequence[str], latents: Tensor) -> None:
    with atomic(file) as temporary, temporary.open("wb") as f:
        np.savez(f, texts=np.array(texts, dtype=str), latents=latents.numpy())


def _read(file: Path) -> tuple[list[str], Tensor]:
    try:
        with np.load(file, allow_pickle=False) as kept:
            return kept["texts"].tolist(), torch.from_numpy(kept["latents"])
    except (OSError, ValueError, EOFError, KeyError, BadZipFile) as error:
        problem = f"pairs of pictures are wanted, got a broken file ({error})"
        raise DataError(problem, file=file, remedy="Delete it; they are drawn again") from error
