"""Assigns a rewarding judge to each generator of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from recsim_gen.core.errors import SettingError
from recsim_gen.core.processes import this_process
from recsim_gen.core.specs import JudgeSpec, RankerSpec
from recsim_gen.judging.judges import judge_labels, open_judges, says_how_sure

if TYPE_CHECKING:
    from recsim_gen.core.results import Results
    from recsim_gen.core.types import Catalog, Dataset
    from recsim_gen.experiments.methods import Method
    from recsim_gen.judging.judges import Judge


def default_judges(ranker: RankerSpec, seed: int) -> tuple[JudgeSpec, ...]:
    """Return the default judges of a command: ``ranker`` with this seed, and one that reports uncertainty."""
    return (
        JudgeSpec(f"{ranker}-seed{seed}", ranker.settings),
        JudgeSpec(f"taste@boutique-clip-seed{seed}"),
    )


def rewarding_judges(
    methods: Sequence[Method], judges: Sequence[JudgeSpec], chosen: Sequence[str] = ()
) -> dict[str, str]:
    """Return {label of a method: label of its rewarding judge}, for all methods that learn from a ranker.

    By default it is the first of ``judges``, and for a generator that uses uncertainty the first that reports
    it. ``chosen`` has METHOD=JUDGE for exceptions. Raises SettingError if a method or judge is unknown or
    needs none, and if no judge fits.
    """
    labels = judge_labels(judges)
    learning = {method.label: method for method in methods if method.uses_ranker}
    rewards = {}
    for word in chosen:
        label, equals, judge = word.partition("=")
        if not equals or label not in learning or judge not in labels:
            raise SettingError(
                f"--reward METHOD=JUDGE: a method among {', '.join(learning) or 'none'} and a judge among "
                f"{', '.join(labels) or 'none'} are wanted, got {word!r}"
            )
        rewards[label] = judge
    for label, method in learning.items():
        if label not in rewards:
            rewards[label] = _fitting(method, judges, labels)
    return rewards


def _fitting(method: Method, judges: Sequence[JudgeSpec], labels: Sequence[str]) -> str:
    """Return the label of the first judge that a method can learn from."""
    generator = method.untrained
    assert generator is not None
    if not generator.weighs_doubt and labels:
        return labels[0]
    for label, spec in zip(labels, judges, strict=True):
        if says_how_sure(spec):
            return label
    kind = (
        "a judge that reports its uncertainty (taste@boutique-clip-seed0)"
        if generator.weighs_doubt
        else "one"
    )
    raise SettingError(
        f"{method.label} learns from a judge's scores of its pictures: give {kind} among --judges, got "
        f"{', '.join(labels) or 'none'}"
    )


def reward_judges(
    methods: Sequence[Method],
    judges: Sequence[JudgeSpec],
    dataset: Dataset,
    catalog: Catalog,
    results: Results,
    *,
    force: bool = False,
    device: str = "cpu",
) -> dict[str, Judge]:
    """Return {label of a method: its rewarding judge}, trained or loaded; one of several processes trains.

    Judges that no method learns from are not opened. Raises SettingError as `rewarding_judges` and
    `judges.reward_judge` do.
    """
    rewards = rewarding_judges(methods, judges)
    with this_process().main_process_first():
        opened = open_judges(
            judges,
            dataset,
            catalog,
            rewarding=rewards.values(),
            only_rewarding=True,
            force=force,
            device=device,
            results=results,
        )
    by_label = {judge.label: judge for judge in opened}
    return {method: by_label[label] for method, label in rewards.items()}
