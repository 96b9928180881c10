"""Interfaces between the parts of the library, as structural protocols: nothing has to be inherited."""

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
"""Called after each epoch with the epoch and {name: value} (losses, validation metrics)."""


@runtime_checkable
class Ranker(Protocol):
    """A model that scores items for users, and for histories of people that it was not trained on.

    Attributes
    ----------
    name
        Name in the registry and in tables.
    config
        Dataclass instance with the settings.
    training_version
        Increase it when a change of code makes training with equal settings give other weights: rankers
        cached under another version are then not used.
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
        """Learn from the train split.

        Parameters
        ----------
        catalog
            Items with the feature tables that the ranker may use.
        interactions
            Choices of all splits. Use the valid split for early stopping only; never read the test split.
        rng
            Source of all randomness of the training.
        on_epoch
            Called after each epoch.

        Returns
        -------
        Ranker
            The ranker itself.
        """

    def score(self, users: NDArray[Any]) -> torch.Tensor:
        """Return the (B, n) float32 scores of all n items for known users.

        Parameters
        ----------
        users
            (B,) user rows of the interactions that the ranker was fitted on.
        """

    def fold_in(self, histories: Sequence[NDArray[Any]]) -> torch.Tensor:
        """Return the (B, n) float32 scores of all n items for new users, given what they chose.

        Parameters
        ----------
        histories
            B arrays of item rows.
        """

    def substitute(
        self,
        users: NDArray[Any],
        items: NDArray[Any],
        features: Mapping[str, NDArray[Any]],
        scope: Scope = "graph",
    ) -> Counterfactual:
        """Return what the ranker would answer if item ``items[b]`` had other features.

        Each (user, item, features) is evaluated independently of the others.

        Parameters
        ----------
        users
            (B,) user rows.
        items
            (B,) item rows.
        features
            {modality: (B, d)} new features, made by the encoder of the catalogue. A modality that is left out
            keeps the item's own features.
        scope
            graph: exact, as if the item graph were rebuilt; item: only the features of the item itself
            change.

        Returns
        -------
        Counterfactual
            (B,) scores and ranks with the new features and with the item's own.
        """

    def rebuild(
        self, users: NDArray[Any], items: NDArray[Any], features: Mapping[str, NDArray[Any]]
    ) -> Counterfactual:
        """Return the same as `substitute`, computed by rebuilding everything: slow, the reference for tests.

        Parameters
        ----------
        users, items, features
            As for `substitute`.

        Returns
        -------
        Counterfactual
            (B,) scores and ranks with the new features and with the item's own.
        """

    def save(self, folder: str | Path) -> None:
        """Write ``config.json`` and ``model.safetensors`` into ``folder``, atomically."""

    @classmethod
    def load(
        cls, folder: str | Path, catalog: Catalog, interactions: Interactions, *, device: str = "cpu"
    ) -> Ranker:
        """Load a ranker that `save` wrote.

        Parameters
        ----------
        folder
            Folder with ``config.json`` and ``model.safetensors``.
        catalog, interactions
            The data that the ranker was trained on.
        device
            Device to load the weights to.

        Returns
        -------
        Ranker
            The trained ranker.

        Raises
        ------
        DataError
            If the ranker was trained on other data.
        """


@runtime_checkable
class ContentJudge(Protocol):
    """A ranker that judges unseen images by their content and reports its uncertainty."""

    def appraise(
        self, histories: Sequence[NDArray[Any]], items: NDArray[Any], features: Mapping[str, NDArray[Any]]
    ) -> Appraisal:
        """Predict how much B people like one item each if it has these features.

        Parameters
        ----------
        histories
            B arrays of item rows: what each person chose.
        items
            (B,) item rows.
        features
            {modality: (B, d)}. A modality that is left out keeps the item's own features.

        Returns
        -------
        Appraisal
            (B,) means and standard deviations, in units of the ranker's score.
        """


class Family(Protocol):
    """A set of models by role, as generators use it; `ModelFamily` implements it."""

    def require(self, *roles: str) -> None:
        """Raise MissingDependency if the files of one of these roles are missing."""

    def folder(self, role: str) -> Path:
        """Return the folder with the files of a role."""

    def fingerprint(self, *roles: str) -> str:
        """Return a hash of the family's image settings and of the files of these roles."""


class TrainingRun(Protocol):
    """Destination of the curves of one part of a training; `Run` implements it."""

    def log_epoch(self, epoch: int, numbers: Mapping[str, float], prefix: str = "") -> None:
        """Log the numbers of an epoch or step.

        Parameters
        ----------
        epoch
            Number of the epoch or step, at least 0.
        numbers
            {name: value}.
        prefix
            Goes before each name.
        """

    def log_file(self, path: str | Path, folder: str | None = None) -> None:
        """Keep a file, such as a sheet of samples, in ``folder`` of the run."""


class TrainingTracker(Protocol):
    """The part of a tracker that a training uses; `Tracker` and `Recorder` implement it."""

    def child(self, variant: str) -> TrainingRun:
        """Return the run of this part of the training; repeated calls return the same run."""


@runtime_checkable
class Generator(Protocol):
    """Draws images of the reference items of episodes, personalised for the people of the episodes.

    Constructed as ``Class(models=…, device=None, **settings)``, where ``models`` is a `Family` or an argument
    of ``open_family``.

    Attributes
    ----------
    name
        Name in the registry and in tables.
    config_class
        Dataclass of the settings.
    config
        Instance of ``config_class`` with the settings of this generator.
    family
        Its models.
    roles
        Roles of the family that its images depend on.
    learns
        Whether it has trainable weights: it must then be fitted on episodes, or loaded, before it draws.
    training_version
        Increase it when a change of code makes training with equal settings give other weights: generators
        cached under another version are then not used.
    uses_ranker
        Whether it learns from a ranker's scores of its images, or selects images by them.
    chooses
        Whether it also uses the ranker when drawing, to keep the best of several images.
    weighs_doubt
        Whether it uses the uncertainty of the ranker, which a `ContentJudge` reports.
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
        """Hash of everything that the images depend on: name, settings, models, catalogue and weights."""

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
        """Set the catalogue and, if the generator ``learns``, train on the episodes.

        Parameters
        ----------
        catalog
            Items with texts, images and the feature tables that the generator may use.
        episodes
            Training episodes; they must not include episodes that the images will be judged on.
        ranker
            Gives the reward, if the generator ``uses_ranker``.
        judge
            Held-out ranker for early stopping: training stops when its score falls.
        rng
            Source of all randomness of the training.
        work
            Folder for checkpoints, from which an interrupted training resumes.
        tracker
            Receives the losses, in the child run ``name``.

        Returns
        -------
        Generator
            The generator itself.
        """

    def judged_by(self, ranker: Ranker | None) -> None:
        """Set the ranker that selects images when drawing, after `load`; only needed if it ``chooses``."""

    def generate(self, episodes: Sequence[Episode], *, n: int = 1, rng: Rng) -> ImageBatch:
        """Draw ``n`` images of the reference item of each episode.

        Parameters
        ----------
        episodes
            (B,) episodes: user, history and reference item.
        n
            Images per episode, with the seeds 0…n−1.
        rng
            Source of the noise. An image depends on its episode, its seed and ``rng`` only, never on the
            other episodes of the call.

        Returns
        -------
        ImageBatch
            B·n images, ordered by episode, then by seed.

        Raises
        ------
        DataError
            If an item is not in the catalogue or lacks what the generator needs of it.
        """

    def save(self, folder: str | Path) -> None:
        """Write ``config.json`` and the trained weights into ``folder``, atomically."""

    @classmethod
    def load(
        cls,
        folder: str | Path,
        catalog: Catalog,
        *,
        models: Family | str | Path = "embedded",
        device: str | None = None,
    ) -> Generator:
        """Load a generator that `save` wrote.

        Parameters
        ----------
        folder
            Folder that `save` wrote.
        catalog
            The catalogue that the generator was fitted on.
        models
            A `Family` or an argument of ``open_family``; the models must be those of the training.
        device
            Device to draw on; None: cuda if there is one, else cpu.

        Returns
        -------
        Generator
            The fitted generator.

        Raises
        ------
        DataError
            If the folder is that of another generator, or was made with other data or other models.
        """


@runtime_checkable
class SubjectGenerator(Protocol):
    """Draws a subject (a person, animal or thing) that it was given images of, in the scene of a prompt.

    Constructed as ``Class(models=…, device=None, **settings)``, as a `Generator` is. It holds one subject at
    a time, the one last given to `fit`.

    Attributes
    ----------
    name
        Name in the registry and in tables.
    config_class
        Dataclass of the settings.
    config
        Instance of ``config_class`` with the settings of this method.
    family
        Its models.
    roles
        Roles of the family that its images depend on.
    learns_from_others
        Whether it must be trained once with `learn`, on images of other subjects, before the first subject.
    fewest
        Minimal number of images of a subject.
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
        """Hash of name, settings, models and what was learned from other subjects; without the subject."""

    def learn(
        self,
        others: Sequence[Subject],
        *,
        rng: Rng,
        work: Path | None = None,
        tracker: TrainingTracker | None = None,
    ) -> Any:
        """Train the weights that all subjects share; does nothing unless the method ``learns_from_others``.

        Parameters
        ----------
        others
            Subjects to train on; none of them may be one that will be drawn.
        rng
            Source of all randomness of the training.
        work
            Folder for checkpoints, from which an interrupted training resumes.
        tracker
            Receives the losses, in the child run ``name``.

        Returns
        -------
        SubjectGenerator
            The generator itself.

        Raises
        ------
        DataError
            If there are too few subjects.
        """

    def fit(
        self,
        subject: Subject,
        *,
        rng: Rng,
        work: Path | None = None,
        tracker: TrainingTracker | None = None,
    ) -> Any:
        """Set the subject and, if the method trains per subject, train on its images.

        Parameters
        ----------
        subject
            The subject to draw, with at least ``fewest`` images.
        rng
            Source of all randomness of the training.
        work
            Folder for checkpoints, from which an interrupted training resumes.
        tracker
            Receives the losses, in the child run ``name``.

        Returns
        -------
        SubjectGenerator
            The generator itself.

        Raises
        ------
        DataError
            If the subject has fewer than ``fewest`` images.
        """

    def draw(self, prompt: str, reference: Image.Image, *, noise: Rng) -> torch.Tensor:
        """Draw the subject once.

        Parameters
        ----------
        prompt
            Text with the placeholder ``{subject}``.
        reference
            Image of the subject; some methods condition on it.
        noise
            Source of all randomness.

        Returns
        -------
        Tensor
            (3, H, W) float32 RGB in [0, 1], on the CPU.

        Raises
        ------
        SettingError
            If `fit` was not called or the prompt lacks the placeholder.
        """

    def draw_each(self, requests: Sequence[tuple[str, Image.Image, Rng]]) -> list[torch.Tensor]:
        """Draw one image per (prompt, reference, noise); each is bit-identical to what `draw` returns.

        Parameters
        ----------
        requests
            (prompt, reference, noise) as for `draw`.

        Returns
        -------
        list of Tensor
            One (3, H, W) image per request.
        """

    def weights(self) -> dict[str, torch.Tensor]:
        """Return the weights learned from other subjects, on the CPU; empty if there are none."""

    def restore(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Load what `weights` returned.

        Parameters
        ----------
        weights
            {name: tensor}.

        Raises
        ------
        DataError
            If the weights do not fit the models.
        """


@runtime_checkable
class Explainer(Protocol):
    """Explains why people would like items, from their histories alone; new people need no training.

    Constructed as ``Class(shop)`` with the `recsim_gen.experiments.explanations.shop.Shop` to explain.

    Attributes
    ----------
    name
        Name in the registry and in tables.
    """

    name: str

    @classmethod
    def check(cls, family: Family) -> None:
        """Check that the explainer works with these models, without loading weights.

        Parameters
        ----------
        family
            Models by role.

        Raises
        ------
        MissingDependency
            If files of a model are missing.
        SettingError
            If the explainer cannot use these models.
        """

    def explain(self, episodes: Sequence[Episode]) -> list[Explanation]:
        """Return a caption and a reason for the reference item of each episode.

        Parameters
        ----------
        episodes
            (B,) episodes. Only the history and the reference are used, and each explanation is independent of
            the other episodes of the call.

        Returns
        -------
        list of Explanation
            One per episode.
        """


@runtime_checkable
class InWords(Protocol):
    """A generator that can tell in words what it draws."""

    def words(self, episode: Episode) -> str:
        """Return the text that the image of this episode is drawn from; "" if there is none."""


class ExportedPart(NamedTuple):
    """A file or folder of an exported generator.

    Attributes
    ----------
    name
        Its path in the export folder.
    what
        Description in words.
    load
        Python code that loads it; "" if none is needed.
    """

    name: str
    what: str
    load: str = ""


@runtime_checkable
class Exporting(Protocol):
    """A generator that can write what it learned in the formats of other libraries."""

    def export(self, folder: Path, user_ids: Sequence[str]) -> Sequence[ExportedPart]:
        """Write the learned weights so that the loaders of other libraries read them.

        Parameters
        ----------
        folder
            Empty folder to write into.
        user_ids
            Ids of the users, in the order of the user rows of the episodes.

        Returns
        -------
        sequence of ExportedPart
            What was written.

        Raises
        ------
        SettingError
            If nothing was learned.
        """


@runtime_checkable
class TextEncoder(Protocol):
    """Encodes texts as vectors.

    Attributes
    ----------
    fingerprint
        Hash of class, weights and preprocessing.
    """

    fingerprint: str

    def encode_texts(self, texts: Sequence[str]) -> NDArray[Any]:
        """Return the (B, d) float32 vectors of B texts, not normalised."""


@runtime_checkable
class ImageEncoder(Protocol):
    """Encodes images as vectors.

    Attributes
    ----------
    fingerprint
        Hash of class, weights and preprocessing.
    """

    fingerprint: str

    def encode_images(self, images: Sequence[Image.Image]) -> NDArray[Any]:
        """Return the (B, d) float32 vectors of B RGB images of any size, not normalised."""
