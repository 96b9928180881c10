"""Options shared by commands, each with one meaning; the options of a command inherit from these."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recsim_gen.core.command_line.names import plain_name, settings_name
from recsim_gen.core.processes import device_of
from recsim_gen.core.specs import DataSpec, RankerSpec, Spec


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Where a command writes, and how much it prints.

    Parameters
    ----------
    output
        Folder for results.json, config.yaml and what else the command writes.
    tracking_uri
        MLflow store; default MLFLOW_TRACKING_URI, else mlflow.db beside the output folder.
    quiet
        Print the table and the paths only.
    """

    output: Path = Path("runs")
    tracking_uri: str | None = None
    quiet: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return all options by their names in files; a part's settings are separate: ``ranker_settings``."""
        options: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            options |= _plain(field.name, getattr(self, field.name))
        return options


@dataclass(frozen=True, kw_only=True)
class DeviceOptions:
    """Where models run.

    Parameters
    ----------
    device
        Where models run: cpu, cuda (each process its own), cuda:N; auto: cuda where there is one.
    """

    device: str = "auto"

    @property
    def place(self) -> str:
        """Return the device as a torch device string. Raises SettingError if it does not exist."""
        return device_of(self.device)


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """The data set.

    Parameters
    ----------
    data
        What to run on: NAME or NAME:PATH (csv:DIR for your own, boutique, ml-100k, movielens:DIR).
    """

    data: DataSpec = DataSpec("boutique")


@dataclass(frozen=True, kw_only=True)
class ExperimentOptions(DataOptions, DeviceOptions, RunOptions):
    """Options of commands that use features of items.

    Parameters
    ----------
    encoders
        Encoder of each modality, default the data's own: --encoders.text minilm; none leaves it out:
        --encoders.image none.
    """

    encoders: dict[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class RankerOptions:
    """The ranker to train.

    Parameters
    ----------
    ranker
        Ranker to train: NAME or NAME:RECIPE (micro, micro:published-code, lightgcn), or module:Class.
    """

    ranker: RankerSpec = RankerSpec("micro")


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """The models that generators use.

    Parameters
    ----------
    models
        Family of models: embedded, paper, FOLDER or FILE.yaml.
    """

    models: str = "embedded"


def _plain(name: str, value: Any) -> Mapping[str, Any]:
    """Return one option as written in files."""
    specs = value if isinstance(value, tuple) else (value,)
    if specs and all(isinstance(spec, Spec) for spec in specs):
        names = [spec.name for spec in specs]
        settings = {key: x for spec in specs for key, x in spec.settings.items()}
        return {
            plain_name(name): names if isinstance(value, tuple) else names[0],
            settings_name(name, type(specs[0])): settings,
        }
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    return {plain_name(name): list(value) if isinstance(value, tuple) else value}
