"""What a field of the options is called on the command line and in files."""

from __future__ import annotations

from recsim_gen.core.specs import DataSpec, Spec


def plain_name(name: str) -> str:
    """Return a field's name in files and results: ``from`` of ``from_``, which Python does not allow."""
    return name.rstrip("_")


def option(name: str) -> str:
    """Return a field's option: ``--data-settings`` of ``data_settings``, ``--from`` of ``from_``."""
    return "--" + plain_name(name).replace("_", "-")


def settings_name(name: str, spec: type[Spec]) -> str:
    """Return what a part's settings are called: ``ranker_settings``; of data always ``data_settings``."""
    return "data_settings" if issubclass(spec, DataSpec) else f"{plain_name(name)}_settings"
