"""Names of an option field on the command line and in files."""

from __future__ import annotations

from recsim_gen.core.specs import DataSpec, Spec


def plain_name(name: str) -> str:
    """Return a field's name in files and results: ``from`` for ``from_`` (``from`` is a Python keyword)."""
    return name.rstrip("_")


def option(name: str) -> str:
    """Return a field's option: ``--data-settings`` for ``data_settings``, ``--from`` for ``from_``."""
    return "--" + plain_name(name).replace("_", "-")


def settings_name(name: str, spec: type[Spec]) -> str:
    """Return the name of a part's settings: ``ranker_settings``; for data always ``data_settings``."""
    return "data_settings" if issubclass(spec, DataSpec) else f"{plain_name(name)}_settings"
