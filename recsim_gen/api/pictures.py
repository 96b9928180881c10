"""Pictures: drawn by a generator, and judged by rankers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsim_gen.core.specs import GeneratorSpec, JudgeSpec, RankerSpec
from recsim_gen.datasets.image_sets import ImageSet
from recsim_gen.judging.judging import Judgement

if TYPE_CHECKING:
    from recsim_gen.api.data import Data
    from recsim_gen.judging.judges import Judge

__all__ = ["ImageSet", "Judgement", "generate", "judge"]


def generate(
    name: str,
    data: Data,
    *,
    episodes: int = 0,
    judges: Sequence[str] = (),
    force: bool = False,
    models: str = "embedded",
    seed: int = 0,
    **settings: Any,
) -> ImageSet:
    """Draw the reference item of test episodes, each for its user; what was drawn before is loaded.

    A generator that learns is trained first, on training choices alone, or loaded.

    Parameters
    ----------
    name
        As of ``--gen``: sd, pmg, ragar, ragar_taste, oracle, module:Class, …
    data
        What `load_data` gave.
    episodes
        Test episodes to draw for, spread at random; 0 is all.
    judges
        What a generator that learns from a ranker may learn from: NAME-seedN, NAME@ENCODER-seedN, or folders.
        Only one that uses pictures and sees taste in them gives a reward. Default MICRO and a taste, seed 0.
    force
        Let one give it that does not.
    models
        Family of models: embedded, paper, a folder or a YAML file.
    seed
        Of the training and of the noise.
    settings
        Of the generator, as ``--gen-settings.NAME``: ``candidates=1``.

    Returns the pictures, with the user and item of each; ``pictures.reader.read(row)`` is one of them. Raises
    SettingError for unknown names and settings and for judges that fail, MissingDependency for models whose
    files are not at hand.
    """
    from recsim_gen.artifacts.drawn_images import images_for
    from recsim_gen.artifacts.trained_generators import chosen_episodes
    from recsim_gen.core.results import Results
    from recsim_gen.datasets.episodes import training_episodes
    from recsim_gen.datasets.image_sets import read_images
    from recsim_gen.experiments.methods import Method, check_settings
    from recsim_gen.experiments.rewards import default_judges, reward_judges
    from recsim_gen.models.family import open_family

    method, family = Method(name, GeneratorSpec(name, settings)), open_family(models)
    check_settings([method], family)
    dataset = data.dataset
    specs = [*map(JudgeSpec, judges)] or default_judges(RankerSpec("micro"), 0)
    results = Results("generate", {})
    rewards = reward_judges([method], specs, dataset, data.catalog, results, force=force, device=data.device)
    made = method.open(
        dataset,
        training_episodes(dataset),
        judge=rewards.get(name),
        seed=seed,
        models=family,
        device=data.device,
    )
    asked, _ = chosen_episodes(dataset, episodes)
    return read_images(images_for(made, dataset, asked, seed=seed), dataset)


def judge(
    data: Data,
    judges: Sequence[Judge],
    images: str | Path | ImageSet,
    *,
    placebo: str | Path | ImageSet | None = None,
    users: Sequence[str] | None = None,
) -> Judgement:
    """How far images move items in users' lists, beside controls, and whether that is to be believed.

    Parameters
    ----------
    data
        What the judges were trained on.
    judges
        Of `train_ranker`; the first is the one that gave a reward, if one did, the others are held out.
    images
        Of `generate`, or a folder or tar of ``<item id>.png`` or ``<user id>/<item id>.png``.
    placebo
        Other real pictures of the items, likewise.
    users
        Ids to ask about images without a user of their own; default those whose test reference it is.

    Returns rows and verdicts; printed, they are a table and a line a guard. More can be set at
    `judging.judging.judge`. Raises DataError for images that cannot be used.
    """
    from recsim_gen.judging.judging import judge as judged

    return judged(data.dataset, judges, images, placebo=placebo, users=users, device=data.device)
