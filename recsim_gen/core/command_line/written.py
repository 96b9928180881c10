"""Values as written on the command line and in files, before conversion to types."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from recsim_gen.core.errors import SettingError


@dataclass(frozen=True)
class Written:
    """One value under its full name: ``content`` from a file, or the ``words`` after an option.

    ``file`` is "" for the command line.
    """

    name: str
    content: Any = None
    words: Sequence[str] | None = None
    file: str = ""

    @property
    def label(self) -> str:
        """Name of the option in messages: ``--seeds``, or ``c.yaml: seeds``."""
        return self.where + self.name

    @property
    def where(self) -> str:
        """Prefix of messages: the file, or "" for the command line."""
        return f"{self.file}: " if self.file else ""

    @property
    def is_null(self) -> bool:
        """Whether the value in a file is null."""
        return self.words is None and self.content is None

    def one(self) -> Any:
        """Return a single value. Raises SettingError if there are no or several words."""
        if self.words is None:
            return self.content
        if len(self.words) != 1:
            raise SettingError(f"{self.label} takes one value, got {' '.join(self.words) or 'none'}")
        return self.words[0]

    def several(self) -> list[Any]:
        """Return a list of values. Raises SettingError if there is none."""
        if self.words is None:
            return self.content if isinstance(self.content, list) else [self.content]
        if not self.words:
            raise SettingError(f"{self.label} takes one value or more, got none")
        return list(self.words)


@dataclass
class Given:
    """All values written, by their names in files; of two values the later one counts.

    ``entries`` holds the values below a name, each with its own name: ``--encoders.text words``.
    """

    values: dict[str, Written] = field(default_factory=dict)
    entries: dict[str, dict[str, Written]] = field(default_factory=dict)

    def add_entries(self, key: str, written: Written) -> None:
        """Add NAME: VALUE pairs that were written together. Raises SettingError for anything else."""
        pairs = written.one()
        if written.words:
            with contextlib.suppress(yaml.YAMLError):
                pairs = yaml.safe_load(pairs)
        if not isinstance(pairs, dict | None):
            raise SettingError(f"{written.label} must be NAME: VALUE pairs, got {pairs!r}")
        entries = self.entries.setdefault(key, {})
        for name, content in (pairs or {}).items():
            entries[str(name)] = Written(f"{written.name}.{name}", content, file=written.file)


def occurrences(argv: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Return each option of the command line with the words that follow it.

    Raises SettingError for a word before the first option.
    """
    options: list[tuple[str, list[str]]] = []
    for word in argv:
        if word.startswith("--"):
            option, equals, value = word.partition("=")
            options.append((option, [value] if equals else []))
        elif options:
            options[-1][1].append(word)
        else:
            raise SettingError(f"an option begins with --, got {word!r}")
    return options


def read_file(file: str) -> Mapping[str, Any]:
    """Return the content of a YAML or JSON option file.

    Raises SettingError if the file cannot be read or is not a mapping.
    """
    try:
        content = yaml.safe_load(Path(file).expanduser().read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise SettingError(f"--config {file}: cannot be read ({' '.join(str(error).split())})") from error
    if not isinstance(content, dict | None):
        raise SettingError(f"--config {file}: must hold NAME: VALUE pairs, got {type(content).__name__}")
    return {str(name): value for name, value in (content or {}).items()}
