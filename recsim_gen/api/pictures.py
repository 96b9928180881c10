"""Images: draw them with a generator, judge them with rankers."""

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
    """Draw the reference item of test episodes, each for its user; images drawn before are loaded.

    A generator that learns is first trained on the training choices, or loaded if it was trained before.

    Parameters
    ----------
    name
        Name as for ``--gen``: sd, pmg, ragar, ragar_taste, oracle, module:Class, …
    data
        Data set from `load_data`.
    episodes
        Number of test episodes to draw for, sampled at random; 0 takes all.
    judges
        Judges that a generator may learn from: NAME-seedN, NAME@ENCODER-seedN, or folders of trained rankers.
        A judge gives a reward only if it uses images and recognises taste in them. Default: MICRO and TASTE
        with seed 0.
    force
        Use a judge as reward even if it does not qualify.
    models
        Family of models: embedded, paper, a folder or a YAML file.
    seed
        Seed of the training and of the noise.
    settings
        Settings of the generator, as for ``--gen-settings.NAME``: ``candidates=1``.

    Returns
    -------
    ImageSet
        The images with the user and item of each; ``images.reader.read(row)`` returns one image.

    Raises
    ------
    SettingError
        If a name or setting is unknown, or a judge cannot give the reward.
    MissingDependency
        If the files of a model are missing.
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
    selected, _ = chosen_episodes(dataset, episodes)
    return read_images(images_for(made, dataset, selected, seed=seed), dataset)


def judge(
    data: Data,
    judges: Sequence[Judge],
    images: str | Path | ImageSet,
    *,
    placebo: str | Path | ImageSet | None = None,
    users: Sequence[str] | None = None,
) -> Judgement:
    """Measure how far images move items in users' lists, compared with controls, and test the result.

    Parameters
    ----------
    data
        Data set that the judges were trained on.
    judges
        Judges from `train_ranker`. If a judge gave a generator its reward, it comes first; the others are
        held out.
    images
        Images from `generate`, or a folder or tar of ``<item id>.png`` or ``<user id>/<item id>.png``.
    placebo
        Other real images of the same items, in one of the same forms.
    users
        User ids to judge images without a user for; default: the users whose test reference is the item.

    Returns
    -------
    Judgement
        Rows and verdicts; printing it shows a table and one line per guard. `judging.judging.judge` has more
        settings.

    Raises
    ------
    DataError
        If the images cannot be used.
    """
    from recsim_gen.judging.judging import judge as judged

    return judged(data.dataset, judges, images, placebo=placebo, users=users, device=data.device)
