"""Reads downloaded JSON files within a size limit, and accesses their fields with type checks.

A JSON file is parsed as a whole, which takes about five times its size in memory, so the size is checked
before reading. Input that the standard parser accepts but that is never intended (a repeated key, ``NaN``,
half a surrogate pair) is rejected too.
"""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from recsim_gen.core.errors import DataError
from recsim_gen.datasets.files.names import FORM, clean_name
from recsim_gen.datasets.files.text_lines import to_utf8

MAX_MEGABYTES = 1024
_AS_PUBLISHED = "Fetch the file as published, or correct it"
_LONGEST_ID = 1000


def read_json(path: str | Path, *, max_megabytes: int = MAX_MEGABYTES) -> Any:
    """Return the content of a JSON file (UTF-8).

    Raises DataError for a file that is missing, larger than ``max_megabytes`` (it is not read then), not
    UTF-8, not JSON, nested too deep, or with a repeated key in one object.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > max_megabytes * 2**20:
            raise DataError(
                f"at most {max_megabytes:,} MiB of JSON are read at once, got {size / 2**20:,.0f} MiB",
                file=path,
                remedy="Raise max_megabytes if memory is about five times that, or split the file",
            )
        text = path.read_bytes().decode("utf-8-sig")
        return json.loads(text, object_pairs_hook=_object, parse_constant=_no_number)
    except OSError as error:
        remedy = f"Does {path.parent} hold the data as published?"
        raise DataError(f"cannot be opened ({error.strerror})", file=path, remedy=remedy) from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"UTF-8 text is wanted, got the byte 0x{error.object[error.start]:02x} at {error.start:,}",
            file=path,
            remedy=to_utf8(error.object),
        ) from error
    except RecursionError as error:
        raise DataError("nested too deep to be data", file=path, remedy=_AS_PUBLISHED) from error
    except json.JSONDecodeError as error:
        raise DataError(
            f"cannot be read as JSON ({error.msg}, column {error.colno})",
            file=path,
            row=error.lineno,
            remedy=_AS_PUBLISHED,
        ) from error
    except ValueError as error:  # from the two hooks, or numbers with thousands of digits
        raise DataError(f"cannot be read as JSON ({error})", file=path, remedy=_AS_PUBLISHED) from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        again = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {again[:60]!r} stands twice in one object")
    return made


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number of JSON")


@dataclass(frozen=True)
class Fields:
    """One object of a file with typed access to its fields; ``row`` is its position for messages.

    Each method returns the field's value, or None (text: ``""``) if the key is missing or null, and raises
    DataError (file, row, remedy) if the value has another type.
    """

    values: Mapping[str, Any]
    file: Path
    row: str

    @classmethod
    def of(cls, value: Any, file: Path, row: str) -> Fields:
        """Wrap ``value`` if it is an object; raise DataError otherwise."""
        if not isinstance(value, dict):
            raise DataError(
                f"an object is wanted, got {shown(value)}", file=file, row=row, remedy=_AS_PUBLISHED
            )
        return cls(value, file, row)

    def identifier(self, *keys: str) -> str | None:
        """Return the first of these keys that is present, as an id: text, or a whole number in digits."""
        for key in keys:
            value = self.values.get(key)
            if value is None:
                continue
            return self.as_identifier(value, key)
        return None

    def as_identifier(self, value: Any, key: str) -> str:
        """Return ``value`` as an id, see `clean_name`; ``key`` is for the message."""
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        name = clean_name(self._text(value, key)) if isinstance(value, str) else ""
        if not name or len(name) > _LONGEST_ID:
            self.refuse(f"{key} must be an id (text or a whole number), got {shown(value)}")
        return name

    def texts(self) -> dict[str, str]:
        """Return {key as an id: text}; raises if two keys are the same id."""
        named: dict[str, str] = {}
        for key in self.values:
            name = clean_name(key)
            if name in named:
                self.refuse(f"the key {name[:60]!r} stands twice in one object, if blanks are left out")
            named[name] = self.text(key)
        return named

    def text(self, key: str) -> str:
        """Return text, stripped; a list of texts is joined by commas."""
        value = self.values.get(key)
        if isinstance(value, list) and all(isinstance(word, str) for word in value):
            value = ", ".join(value)
        if not isinstance(value, str | None):
            self.refuse(f"{key} must be text, got {shown(value)}")
        return "" if value is None else unicodedata.normalize(FORM, self._text(value, key)).strip()

    def number(self, key: str) -> float | None:
        """Return a finite number."""
        value = self.values.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            self.refuse(f"{key} must be a number, got {shown(value)}")
        return float(value)

    def count(self, key: str) -> int | None:
        """Return a whole number ≥ 0."""
        value = self.values.get(key)
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**31
        ):
            self.refuse(f"{key} must be a whole number from 0, got {shown(value)}")
        return value

    def objects(self, key: str) -> list[Fields]:
        """Return a list of objects; empty if the key is missing."""
        value = self.values.get(key)
        if not isinstance(value, list | None):
            self.refuse(f"{key} must be a list, got {shown(value)}")
        return [Fields.of(v, self.file, f"{self.row}, {key}[{k}]") for k, v in enumerate(value or ())]

    def inner(self, key: str) -> Fields | None:
        """Return an object nested in this one."""
        value = self.values.get(key)
        return None if value is None else Fields.of(value, self.file, f"{self.row}, {key}")

    def refuse(self, problem: str, remedy: str = _AS_PUBLISHED) -> NoReturn:
        """Raise DataError about this object."""
        raise DataError(problem, file=self.file, row=self.row, remedy=remedy)

    def _text(self, value: str, key: str) -> str:
        """Return ``value``; raises for invalid Unicode and for the character 0, which numpy drops."""
        if "\0" in value or (not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value)):
            self.refuse(f"{key} holds a character that is no text, got {shown(value)}")
        return value


def shown(value: Any) -> str:
    """Return a short description of a value for a message."""
    text = ascii(value) if isinstance(value, str | int | float | None) else type(value).__name__
    return text if len(text) <= 60 else text[:57] + "…"
