"""What does a judged picture buy? Preferences, a policy gradient, or a choice among more pictures.

    python tests/benchmarks/preference_optimisation.py 100 --seeds 0 1 --output runs/preference_optimisation

Boutique, whose tastes are known. So many test episodes are drawn for. Every method keeps the best of 4
pictures of each, and has so many more judged pictures to spend: `ragar_dpo` on pairs for its UNet (4 a pair),
`ragar_taste` on its policy (5 an episode of a step), and the choice without training on more candidates. The
control of `ragar_dpo` learns from the same pairs, of which a coin says which picture was preferred.

Of the pictures that are kept: what the judge of the reward believes they gained (lower bound), true liking
less that of the item itself, and ΔR of a judge that gave no reward and sees pictures by another encoder.
Intervals draw people and trainings again. The second table is of differences from the best of 4 without
training, person by person.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from analysis.budget_figure import budget_curves
from generators.ragar.action import TrainingContext
from generators.ragar.config import RAGARDPOConfig, RAGARTasteConfig
from generators.ragar.generator import RAGARDPO, RAGARTaste
from generators.ragar.judge import PictureJudge, pictures
from generators.ragar.pairs import PairDrawing, Pairs
from generators.ragar.preference import PreferenceAction
from recsim_gen.artifacts.trained_generators import chosen_episodes
from recsim_gen.core.randomness import Rng
from recsim_gen.core.results import Results
from recsim_gen.core.specs import JudgeSpec
from recsim_gen.core.statistics import bootstrap
from recsim_gen.core.store import atomic, fingerprint
from recsim_gen.core.types import Episode
from recsim_gen.datasets.boutique.world import Boutique
from recsim_gen.datasets.episodes import training_episodes
from recsim_gen.datasets.opening import open_data
from recsim_gen.encoders.features import encode, make_encoder
from recsim_gen.judging.judges import Judge, open_judges
from recsim_gen.metrics.delta_rank import delta_r

REWARD, HELD_OUT = "taste@boutique-clip-seed0", "micro-seed0"
KEPT_OF = RAGARTasteConfig.candidates
PER_PAIR = RAGARDPOConfig.noises + 1
PER_STEP = RAGARTasteConfig.batch_size * (RAGARTasteConfig.noises + 2)
CHOICE, POLICY, DPO, COIN = "best of n", "policy gradient", "DPO", "DPO, order by coin"
MEASURES = {
    "believed": "what the rewarding judge believes",
    "liking": "true liking, less the item's own",
    "delta_r": "ΔR of a held-out judge",
}
BATCH = 25  # episodes whose candidates are drawn at a time


@dataclass(frozen=True)
class World:
    """The shop, its judges, and who is drawn for."""

    dataset: Boutique
    judge: Judge
    held_out: Judge
    episodes: Sequence[Episode]
    budgets: Sequence[int] = ()  # judged pictures beside the choice among KEPT_OF

    @classmethod
    def opened(cls, count: int, budgets: Sequence[int]) -> World:
        """With so many test episodes."""
        dataset = open_data("boutique")
        assert isinstance(dataset, Boutique)
        specs = [JudgeSpec(REWARD), JudgeSpec(HELD_OUT)]
        judges = open_judges(specs, dataset, encode(dataset), results=Results("preference_optimisation", {}))
        return cls(dataset, *judges, chosen_episodes(dataset, count)[0], tuple(budgets))

    def asked(self) -> PictureJudge:
        """The judge of the reward."""
        encoder = make_encoder(self.judge.catalog.encoder_of("image"))
        return PictureJudge(self.judge.ranker, encoder, doubt=RAGARTasteConfig.doubt, scope="graph")

    def fitted(self, of: type[RAGARTaste], seed: int, **settings: object) -> RAGARTaste:
        """A generator that is trained with these settings and keeps the best of 4."""
        made = of(device="cpu", encoder=self.judge.catalog.encoder_of("image"), **settings)
        episodes = training_episodes(self.dataset)
        return made.fit(self.judge.catalog, episodes, ranker=self.judge.ranker, rng=Rng(seed))

    def measured(self, episodes: Sequence[Episode], pixels: torch.Tensor, made: RAGARTaste) -> pd.DataFrame:
        """A row per episode, of one picture each (B, 3, H, W)."""
        users, items = (np.array([getattr(e, name) for e in episodes]) for name in ("user", "reference"))
        lower, own = self.asked().bounds(episodes, pixels[:, None])
        seen = make_encoder(self.held_out.catalog.encoder_of("image")).encode_images(pictures(pixels))
        moved = self.held_out.ranker.substitute(users, items, {"image": seen}, scope="graph")
        codes = np.asarray(made.family.verifier(device="cpu").read(pixels).codes)
        liked, before = (self.dataset.utility(users, x) for x in (codes, self.dataset.world.codes[items]))
        numbers = {
            "believed": (lower[:, 0] - own).numpy(),
            "liking": liked - before,
            "delta_r": delta_r(moved.original_rank, moved.rank),
        }
        return pd.DataFrame({"episode": [e.id for e in episodes], "user": users, **numbers})


def best_of(world: World, seed: int) -> pd.DataFrame:
    """Without training: the best of 4, and of as many more as each budget has for a person."""
    made, rng = world.fitted(RAGARTaste, seed, reward="none"), Rng(seed)
    numbers = {spent: KEPT_OF + spent // len(world.episodes) for spent in (0, *world.budgets)}
    most, found = max(numbers.values()), []
    for start in range(0, len(world.episodes), BATCH):
        part = world.episodes[start : start + BATCH]
        proposals = made._ready.proposals(part, most)
        streams = [rng.for_("noise", e.id, 0) for e in part]
        pairs = [
            (proposal.conditions, stream.for_("candidate", c) if c else stream)
            for stream, proposed in zip(streams, proposals, strict=True)
            for c, proposal in enumerate(proposed)
        ]
        pixels = torch.stack(made._sampler.draw_each(pairs, "candidates")).unflatten(0, (len(part), most))
        worth = made.worth(part, pixels, np.array([[p.prior for p in proposed] for proposed in proposals]))
        for spent, n in numbers.items():
            kept = pixels[torch.arange(len(part)), torch.from_numpy(worth[:, :n].argmax(1))]
            found.append(world.measured(part, kept, made).assign(spent=spent))
    return pd.concat(found)


def by_gradient(world: World, seed: int, spent: int) -> pd.DataFrame:
    """The budget spent on the policy."""
    return drawn(world, world.fitted(RAGARTaste, seed, steps=spent // PER_STEP), seed).assign(spent=spent)


def by_preferences(world: World, seed: int, spent: int, work: Path, *, coin: bool) -> pd.DataFrame:
    """The budget spent on pairs, with the order of the judge or of a coin; as many visits of each as default.

    All the budgets' pairs stay in ``work``.
    """
    settings = fingerprint(RAGARDPOConfig())
    count, run = spent // PER_PAIR, TrainingContext(Rng(seed), work, settings, "", None)
    steps = max(1, RAGARDPOConfig.steps * count // RAGARDPOConfig.pairs)
    made = world.fitted(RAGARDPO, seed, reward="none", steps=steps)
    action = preferring(made)
    denoising = action.denoising()
    drawing = PairDrawing(action, denoising, world.asked(), training_episodes(world.dataset))
    pairs = drawing(max(world.budgets) // PER_PAIR, run)
    some = Pairs(pairs.texts[:count], pairs.latents[:count])
    learning = replace(run, data=fingerprint(settings, spent, coin))
    action.learn(by_coin(some, seed) if coin else some, denoising, learning)
    return drawn(world, made, seed).assign(spent=spent)


def drawn(world: World, made: RAGARTaste, seed: int) -> pd.DataFrame:
    """The best of 4 of each episode."""
    pixels = made.generate(world.episodes, rng=Rng(seed)).pixels
    return world.measured(world.episodes, pixels, made)


def preferring(made: RAGARTaste) -> PreferenceAction:
    """What learns from pairs."""
    assert isinstance(made._action, PreferenceAction)
    return made._action


def by_coin(pairs: Pairs, seed: int) -> Pairs:
    """The same pairs, whose better picture a coin chose."""
    turned = torch.from_numpy(Rng(seed).for_("coin").numpy().random(len(pairs.texts)) < 0.5)
    swapped = torch.where(turned[:, None, None, None, None], pairs.latents.flip(1), pairs.latents)
    return Pairs(pairs.texts, swapped)


def tasks(world: World, work: Path) -> list[tuple[str, int, Callable[[int], pd.DataFrame]]]:
    """Method, budget, and what gives its rows for a seed."""
    found: list[tuple[str, int, Callable[[int], pd.DataFrame]]] = [(CHOICE, 0, partial(best_of, world))]
    for spent in world.budgets:
        preferences = partial(by_preferences, world, spent=spent, work=work)
        found.append((POLICY, spent, partial(by_gradient, world, spent=spent)))
        found += [
            (DPO, spent, partial(preferences, coin=False)),
            (COIN, spent, partial(preferences, coin=True)),
        ]
    return found


def kept(
    world: World, seed: int, work: Path, method: str, spent: int, make: Callable[[int], pd.DataFrame]
) -> pd.DataFrame:
    """The rows of one method, made once: a run that was killed goes on."""
    settings = RAGARDPOConfig(), RAGARTasteConfig(), world.budgets, len(world.episodes)
    file = work / f"{fingerprint(*settings, method, spent, seed)}.csv"
    if not file.exists():
        found = make(seed).assign(method=method, seed=seed)
        with atomic(file) as temporary:
            found.to_csv(temporary, index=False)
    rows = pd.read_csv(file)
    for budget, part in rows.groupby("spent"):
        print(seed, method, budget, part[[*MEASURES]].mean().round(3).to_dict(), flush=True)
    return rows


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean and interval of each measure, by method and budget."""
    found = []
    for (method, judged), part in rows.groupby(["method", "judged"], sort=False):
        for measure in MEASURES:
            values, users, seeds = (part[name].to_numpy() for name in (measure, "user", "seed"))
            e = bootstrap(values, users, Rng(0), trainings=seeds)
            found.append((method, judged, measure, e.value, e.low, e.high, e.signs))
    columns = ["method", "judged", "measure", "value", "low", "high", "signs"]
    return pd.DataFrame(found, columns=columns)


def differences(rows: pd.DataFrame) -> pd.DataFrame:
    """The same rows, less those of the best of 4 without training."""
    start = rows[(rows["method"] == CHOICE) & (rows["spent"] == 0)].set_index(["seed", "episode"])
    others = rows[rows["spent"] > 0].set_index(["seed", "episode"])
    names = [*MEASURES]
    others[names] -= start[names].reindex(others.index)
    return others.reset_index()


def show(title: str, table: pd.DataFrame) -> None:
    """A line per method and budget, a column per measure."""
    cells = [f"{r.value:.3f} [{r.low:.3f}, {r.high:.3f}] {r.signs}" for r in table.itertuples()]
    wide = table.assign(cell=cells).pivot(index=["method", "judged"], columns="measure", values="cell")
    print(title, wide[[*MEASURES]].to_markdown(), sep="\n\n", end="\n\n")


def main() -> None:
    """Print the tables and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("episodes", type=int)
    parser.add_argument("--budgets", type=int, nargs="+", default=[1000, 4000])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--output", type=Path, default=Path("runs/preference_optimisation"))
    options = parser.parse_args()
    world, work = World.opened(options.episodes, options.budgets), options.output.parent / "work"
    todo = tasks(world, work)
    rows = pd.concat([kept(world, seed, work, *task) for seed in options.seeds for task in todo])
    rows["judged"] = rows["spent"] + KEPT_OF * len(world.episodes)
    show("As it is", summary(rows))
    show("Less the best of 4 without training", summary(differences(rows)))
    start = rows[rows["spent"] == 0]
    everywhere = [start.assign(method=method) for method in (POLICY, DPO, COIN)]  # all of them begin there
    options.output.parent.mkdir(parents=True, exist_ok=True)
    rows.to_csv(options.output.with_suffix(".csv"), index=False)
    over = "people and trainings" if len(options.seeds) > 1 else "people, one training"
    paths = budget_curves(
        summary(pd.concat([rows, *everywhere])),
        options.output,
        title=f"What judged pictures buy {len(world.episodes)} people",
        caption=f"All keep the best of {KEPT_OF} or more. Lines: 95% intervals over {over}.",
        panels=MEASURES,
    )
    print(*paths, sep="\n")


if __name__ == "__main__":
    main()
