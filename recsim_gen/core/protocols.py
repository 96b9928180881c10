"""What a part must offer to be used by the rest: structural, nothing to inherit from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from numpy.typing import NDArray

from recsim_gen.core.randomness import Rng
from recsim_gen.core.types import (
    Appraisal,
    Catalog,
    Counterfactual,
    Episode,
    Explanation,
    ImageBatch,
    Interactions,
    Scope,
    Subject,
)

if TYPE_CHECKING:
    import torch
    from PIL import Image

OnEpoch = Callable[[int, Mapping[str, float]], None]
"""Called after each epoch with its number and its numbers (loss, validation metrics)."""


@runtime_checkable
class Ranker(Protocol):
    """A model that scores items for users, and for histories of people it never saw.

    ``training_version``: raise it when the same settings come to train otherwise; what was trained and kept
    under another number is not found again.
    """

    name: str
    config: Any
    training_version: int

    @property
    def fingerprint(self) -> str:
        """Hash of model class, settings, data and weights."""

    def fit(
        self, catalog: Catalog, interactions: Interactions, *, rng: Rng, on_epoch: OnEpoch | None = None
    ) -> Any:
        """Learn from the train split; stop early by the valid split; never read the test split."""

    def score(self, users: NDArray[Any]) -> torch.Tensor:
        """(B, n) scores of all items for known users (rows), float32."""

    def fold_in(self, histories: Sequence[NDArray[Any]]) -> torch.Tensor:
        """(B, n) scores for new users who chose these items (rows), float32."""

    def substitute(
        self,
        users: NDArray[Any],
        items: NDArray[Any],
        features: Mapping[str, NDArray[Any]],
        scope: Scope = "graph",
    ) -> Counterfactual:
        """What it would say if item i looked like x: each (user, item, features) alone."""

    def rebuild(
        self, users: NDArray[Any], items: NDArray[Any], features: Mapping[str, NDArray[Any]]
    ) -> Counterfactual:
        """The same by building everything again: the slow reference."""

    def save(self, folder: str | Path) -> None:
        """Write ``config.json`` and ``model.safetensors``, whole or not at all."""

    @classmethod
    def load(
        cls, folder: str | Path, catalog: Catalog, interactions: Interactions, *, device: str = "cpu"
    ) -> Ranker:
        """Read what ``save`` wrote; raises DataError if it was trained on other data."""


@runtime_checkable
class ContentJudge(Protocol):
    """A ranker that judges pictures it never saw by their content, and says how sure it is."""

    def appraise(
        self, histories: Sequence[NDArray[Any]], items: NDArray[Any], features: Mapping[str, NDArray[Any]]
    ) -> Appraisal:
        """What B people with these histories of item rows think of ``items`` (B,) with these features.

        A modality that is left out of ``features`` {modality: (B, d)} keeps the item's own.
        """


class Family(Protocol):
    """The models that generators are made of, by role, as far as they are handed on: `ModelFamily` is one."""

    def require(self, *roles: str) -> None:
        """Raise MissingDependency where the files of a role are not to be had."""

    def folder(self, role: str) -> Path:
        """Where the files of a role are."""

    def fingerprint(self, *roles: str) -> str:
        """Hash of how it draws and of the content of these roles' files."""


class TrainingRun(Protocol):
    """Where one part of a training writes its curves: a `Run` is one."""

    def log_epoch(self, epoch: int, numbers: Mapping[str, float], prefix: str = "") -> None:
        """Write numbers of an epoch or step."""

    def log_file(self, path: str | Path, folder: str | None = None) -> None:
        """Keep a file, such as a sheet of samples."""


class TrainingTracker(Protocol):
    """What a training needs of a tracker: `Tracker` and `Recorder` are such."""

    def child(self, variant: str) -> TrainingRun:
        """Return the run of this part; the same one each time."""


@runtime_checkable
class Generator(Protocol):
    """Draws pictures of the reference items for the people of episodes.

    Made as ``Class(models=…, device=None, **settings)``: ``models`` is a `Family` or what
    ``open_family`` takes.

    - ``config_class``: dataclass of its settings; ``config``: its own.
    - ``family``, ``roles``: its models, and those of them that its pictures depend on.
    - ``learns``: it has weights to find, so that it draws only once fitted on episodes or loaded.
    - ``training_version``: raise it when the same settings come to train otherwise; what was trained and kept
      under another number is not found again.
    - ``uses_ranker``: it learns from a ranker's scores of its pictures, or chooses by them.
    - ``chooses``: it asks the ranker when drawing, too, to keep the best of several pictures.
    - ``weighs_doubt``: how sure the ranker is counts, so that a `ContentJudge` is best.
    """

    name: str
    config_class: type[Any]
    config: Any
    family: Family
    roles: tuple[str, ...]
    learns: bool
    training_version: int
    uses_ranker: bool
    chooses: bool
    weighs_doubt: bool

    @property
    def fingerprint(self) -> str:
        """Hash of name, settings, models, catalogue and weights: of all that its pictures depend on."""

    def fit(
        self,
        catalog: Catalog,
        episodes: Sequence[Episode],
        *,
        ranker: Ranker | None = None,
        judge: Ranker | None = None,
        rng: Rng,
        work: Path | None = None,
        tracker: TrainingTracker | None = None,
    ) -> Any:
        """Take the catalogue and, where it ``learns``, learn from the episodes; returns itself.

        ``ranker`` gives the reward where it ``uses_ranker``, and ``judge`` gives none: where its score
        falls, training stops. ``work`` is a folder in which a killed training finds how far it was;
        ``tracker`` gets its losses, as the child run ``name``. Episodes that pictures are judged on do not
        belong here.
        """

    def judged_by(self, ranker: Ranker | None) -> None:
        """Take the judge that chooses among pictures when drawing, after `load`; most need none."""

    def generate(self, episodes: Sequence[Episode], *, n: int = 1, rng: Rng) -> ImageBatch:
        """``n`` pictures of each episode's reference, by episode, then by seed 0…n−1.

        A picture depends on the episode, its seed and ``rng`` alone, never on those drawn with it.
        Raises DataError for an item that the catalogue has not, or that lacks what is needed.
        """

    def save(self, folder: str | Path) -> None:
        """Write ``config.json`` and the weights it found, whole or not at all."""

    @classmethod
    def load(
        cls,
        folder: str | Path,
        catalog: Catalog,
        *,
        models: Family | str | Path = "embedded",
        device: str | None = None,
    ) -> Generator:
        """Read what ``save`` wrote; raises DataError for another generator's, other data's or models'."""


@runtime_checkable
class SubjectGenerator(Protocol):
    """Draws somebody or something that it was shown pictures of, where and how a prompt says.

    Made as ``Class(models=…, device=None, **settings)``, as a `Generator` is, whose ``config_class``,
    ``config``, ``family`` and ``roles`` it has, too. It draws one subject at a time: the latest that it
    was fitted to.

    - ``learns_from_others``: before any subject it has to learn once, from pictures of other subjects.
    - ``fewest``: pictures of a subject that it needs.
    """

    name: str
    config_class: type[Any]
    config: Any
    family: Family
    roles: tuple[str, ...]
    learns_from_others: bool
    fewest: int

    @property
    def fingerprint(self) -> str:
        """Hash of name, settings, models and what it learned from others; the subject apart."""

    def learn(
        self,
        others: Sequence[Subject],
        *,
        rng: Rng,
        work: Path | None = None,
        tracker: TrainingTracker | None = None,
    ) -> Any:
        """Learn what is the same for all subjects, from others than those it will draw; returns itself.

        Does nothing where it does not ``learns_from_others``. Raises DataError where these are too few.
        """

    def fit(
        self,
        subject: Subject,
        *,
        rng: Rng,
        work: Path | None = None,
        tracker: TrainingTracker | None = None,
    ) -> Any:
        """Take a subject and learn it, where there is something to learn; returns itself.

        Raises DataError where it has fewer pictures than ``fewest``.
        """

    def draw(self, prompt: str, reference: Image.Image, *, noise: Rng) -> torch.Tensor:
        """One picture (3, H, W) float32 RGB in [0, 1], on the CPU; all chance comes from ``noise``.

        ``prompt`` has the subject's place in it, ``{subject}``; ``reference`` is a picture of the subject,
        which some look at. Raises SettingError before `fit`, and for another prompt.
        """

    def draw_each(self, requests: Sequence[tuple[str, Image.Image, Rng]]) -> list[torch.Tensor]:
        """A picture for each, as `draw` gives it, to the bit."""

    def weights(self) -> dict[str, torch.Tensor]:
        """What it learned from others, on the CPU; {} where that is nothing."""

    def restore(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Take what ``weights`` gave. Raises DataError where they do not fit the models."""


@runtime_checkable
class Explainer(Protocol):
    """Says why people would like items, from their histories alone: new people need no training.

    Made as ``Class(shop)`` with the `recsim_gen.experiments.explanations.shop.Shop` that is explained.
    """

    name: str

    @classmethod
    def check(cls, family: Family) -> None:
        """Raise MissingDependency or SettingError where it cannot work with these models; load no weights."""

    def explain(self, episodes: Sequence[Episode]) -> list[Explanation]:
        """Return a caption and a reason for the reference of each episode.

        Nothing of an episode but its history and its reference is looked at, and none depends on those that
        are asked for with it.
        """


@runtime_checkable
class InWords(Protocol):
    """A generator that can say what it draws from."""

    def words(self, episode: Episode) -> str:
        """What a picture of this episode is drawn from, as far as that is said in words; "" for nothing."""


class ExportedPart(NamedTuple):
    """A file or folder of an exported generator: its name, what it is, and Python that loads it."""

    name: str
    what: str
    load: str = ""


@runtime_checkable
class Exporting(Protocol):
    """A generator that can write what it learned as the loaders of other libraries read it."""

    def export(self, folder: Path, user_ids: Sequence[str]) -> Sequence[ExportedPart]:
        """Write into an empty folder; ``user_ids`` are those of the user rows of its episodes.

        Raises SettingError where nothing was learned.
        """


@runtime_checkable
class TextEncoder(Protocol):
    """Text to vectors. ``fingerprint`` names class, weights and preprocessing."""

    fingerprint: str

    def encode_texts(self, texts: Sequence[str]) -> NDArray[Any]:
        """(B, d) float32, not normalised."""


@runtime_checkable
class ImageEncoder(Protocol):
    """Pictures to vectors. ``fingerprint`` names class, weights and preprocessing."""

    fingerprint: str

    def encode_images(self, images: Sequence[Image.Image]) -> NDArray[Any]:
        """(B, d) float32, not normalised; RGB pictures of any size."""
