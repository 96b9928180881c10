"""Reads text tables into checked columns; every problem is an error with file, row and remedy.

Rows in messages are 1-based lines of the file, counting the header, so an editor can go there.
"""

from __future__ import annotations

import csv
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from recsim_gen.core.errors import DataError
from recsim_gen.core.registry import did_you_mean
from recsim_gen.datasets.files.names import BLANKS, FORM, clean_name, likely
from recsim_gen.datasets.files.remarks import remark
from recsim_gen.datasets.files.text_lines import to_utf8

if TYPE_CHECKING:
    import pandas as pd

_ENCODING = "utf-8-sig"  # UTF-8, with or without the byte order mark of spreadsheets
LONGEST = 10_000  # characters of one text: columns are as wide as the longest
_LONGEST_FIELD = 2**31 - 1  # letters
_AS_PUBLISHED = "Fetch the file as published, or correct that row"


@dataclass(frozen=True, eq=False)
class Table:
    """Result of ``read_table``: columns of one file, and the line numbers of its rows."""

    file: Path
    frame: pd.DataFrame
    separator: str
    quoted: bool

    def __len__(self) -> int:
        return len(self.frame)

    def ids(self, column: str) -> tuple[np.ndarray, np.ndarray]:
        """Return (m,) int64 codes and (n,) str names of an id column; names ordered by ``natural_places``."""
        values = self.frame[column].cat
        names = values.categories.to_numpy(dtype=str)
        place = natural_places(names)
        return place[values.codes.to_numpy()], names[np.argsort(place)]

    def keys(self, column: str) -> np.ndarray:
        """Return the (m,) str ids of a column; raises DataError for a repeated id."""
        self.refuse_duplicates(column)
        return self.frame[column].to_numpy(dtype=str)

    def rows_of(self, column: str, known: np.ndarray, where: str | Path) -> np.ndarray:
        """Return the (m,) int64 positions of the ids of ``column`` in ``known`` (n,) str.

        Raises DataError at the first id that is not in ``known``, which was read from ``where``.
        """
        import pandas as pd

        values = self.frame[column].cat
        place = pd.Index(known.astype(object)).get_indexer(values.categories)
        rows = place[values.codes.to_numpy()].astype(np.int64)
        lost = values.categories[place < 0]
        self.refuse(
            rows < 0,
            lambda i: (
                f"{column} {self.frame[column].iloc[i]!r} is not in {where}{likely(lost, known.tolist())}"
            ),
            f"Add it to {where}, or remove its rows here",
        )
        return rows

    def numbers(self, column: str) -> np.ndarray:
        """Return (m,) float64 values, all finite."""
        return self.frame[column].to_numpy(dtype=np.float64)

    def texts(self, column: str) -> np.ndarray:
        """Return (m,) str, cleaned like names; may be empty."""
        return self.frame[column].str.normalize(FORM).str.strip(BLANKS).to_numpy(dtype=str)

    def refuse_duplicates(self, *columns: str) -> None:
        """Raise DataError if two rows have the same values in these columns."""
        again = self.frame.duplicated(list(columns)).to_numpy()

        def problem(i: int) -> str:
            """Return what is wrong with row ``i``: its values and the row where they came first."""
            values = self.frame[list(columns)]
            first = int((values == values.iloc[i]).all(axis=1).to_numpy().argmax())
            shown = ", ".join(repr(v) for v in values.iloc[i])
            return f"({', '.join(columns)}) = ({shown}) stands a second time; first in row {self.line(first)}"

        self.refuse(again, problem, "Keep one of the two rows")

    def refuse(self, bad: np.ndarray, problem: Callable[[int], str], remedy: str) -> None:
        """Raise DataError for the first of the ``bad`` (m,) rows; ``problem`` gives the text for an index."""
        if bad.any():
            first = int(bad.argmax())
            count = int(bad.sum())
            more = f" ({count - 1:,} more rows like it)" if count > 1 else ""
            raise DataError(problem(first) + more, file=self.file, row=self.line(first), remedy=remedy)

    def line(self, index: int) -> int:
        """Return the 1-based line of the file on which row ``index`` of the frame begins."""
        with _open(self.file) as f:
            for k, (line, _) in enumerate(_records(f, self.separator, self.quoted)):
                if k == index + 1:  # the header is a record, too
                    return line
        return index + 2


def read_table(
    path: str | Path,
    *,
    ids: Sequence[str] = (),
    numbers: Sequence[str] = (),
    texts: Sequence[str] = (),
    separator: str = ",",
    quoted: bool = True,
    spaced: bool = False,
    may_be_empty: bool = False,
    longest: int = LONGEST,
) -> Table:
    """Read columns of a CSV or TSV file with a header line, UTF-8.

    Parameters
    ----------
    path
        The file.
    ids
        Columns of ids: categories of text ("007" stays "007"), cleaned as by ``names``, not empty. Ids that
        differ only in what is cleaned are joined, with a remark.
    numbers
        Columns of finite float64.
    texts
        Columns of str of at most ``longest`` characters. All other columns are ignored.
    separator
        Separator of the fields.
    quoted
        False: a quote is an ordinary character.
    spaced
        True: quotes may follow a space.
    may_be_empty
        True: a table without rows is accepted.
    longest
        Maximal length of texts.

    Raises
    ------
    DataError
        If the file is missing, empty, not UTF-8 or ragged, a column is missing or repeated, an id is empty,
        or a value is not a finite number.
    """
    path = Path(path)
    required = (*ids, *numbers, *texts)
    header = _header(path, separator, quoted)
    missing = [column for column in required if column not in header]
    if missing:
        raise DataError(
            f"columns {', '.join(required)} are wanted, {missing[0]!r} is missing; got {', '.join(header)}",
            file=path,
            row=1,
            remedy="Correct the header line." + did_you_mean(missing[0], header).partition(" Known")[0],
        )
    again = [column for column in required if header.count(column) > 1]
    if again:
        problem = f"column {again[0]!r} stands twice in the header"
        raise DataError(problem, file=path, row=1, remedy="Keep one of the two")
    frame = _parse(path, separator, quoted, spaced, header, dict.fromkeys(required, "str"), numbers)
    # After reading: pandas 3 would read categories as numbers, 007 as 7.
    frame = frame.astype(dict.fromkeys(ids, "category"))
    table = Table(path, frame, separator, quoted)
    if len(table) == 0 and not may_be_empty:
        raise DataError("rows are wanted below the header, got none", file=path, remedy="Is it cut off?")
    return checked(table, ids=ids, numbers=numbers, texts=texts, longest=longest)


def checked(
    table: Table,
    *,
    ids: Sequence[str] = (),
    numbers: Sequence[str] = (),
    texts: Sequence[str] = (),
    longest: int = LONGEST,
) -> Table:
    """Return the table with its text columns checked as by ``read_table``, from whatever source."""
    for column in ids:
        _clean(table, column)
        _refuse_blank(table, column)
    for column in numbers:
        _to_numbers(table, column)
    for column in texts:
        _refuse_long(table, column, longest)
    return table


def column_names(path: str | Path, separator: str = ",", *, quoted: bool = True) -> list[str]:
    """Return the header of a table, cleaned. Raises DataError as ``read_table``."""
    return _header(Path(path), separator, quoted)


def natural_places(ids: np.ndarray) -> np.ndarray:
    """Return the (n,) int64 order of ids: shorter first, then alphabetically, so whole numbers by value."""
    place = np.empty(len(ids), dtype=np.int64)
    place[np.lexsort((ids, np.char.str_len(ids)))] = np.arange(len(ids))
    return place


def _clean(table: Table, column: str) -> None:
    """Clean the ids of a column in place; a remark counts ids that become equal."""
    import pandas as pd

    values = table.frame[column].cat
    raw = values.categories.tolist()
    clean = [clean_name(name) for name in raw]
    if clean == raw:
        return
    names, code = np.unique(np.array(clean, dtype=object), return_inverse=True)
    table.frame[column] = pd.Categorical.from_codes(code[values.codes.to_numpy()], categories=names)
    if joined := len(raw) - len(names):
        first = next(name for name, other in zip(raw, clean, strict=True) if name != other)
        remark(
            f"{table.file.name}: {joined:,} ids of {column} differ from another only by blanks, a byte order "
            f"mark or the Unicode form, such as {first!r}: read as one"
        )


def _refuse_blank(table: Table, column: str) -> None:
    values = table.frame[column].cat
    blank = (values.categories == "")[values.codes.to_numpy()]
    table.refuse(blank, lambda i: f"{column} must be an id, got an empty one", _AS_PUBLISHED)


def _refuse_long(table: Table, column: str, longest: int) -> None:
    long = table.frame[column].str.len().to_numpy() > longest
    table.refuse(long, lambda i: f"{column} is longer than {longest:,} characters", _AS_PUBLISHED)


def _to_numbers(table: Table, column: str) -> None:
    """Convert ``column`` to finite float64 in place; raise for the first invalid value."""
    import pandas as pd

    raw = table.frame[column]
    values = pd.to_numeric(raw, errors="coerce").astype(np.float64)
    table.refuse(
        ~np.isfinite(values.to_numpy()),
        lambda i: f"{column} must be a finite number, got {str(raw.iloc[i])!r}",
        _AS_PUBLISHED,
    )
    table.frame[column] = values


def _parse(
    path: Path,
    separator: str,
    quoted: bool,
    spaced: bool,
    header: Sequence[str],
    kinds: dict[str, str],
    numbers: Sequence[str],
) -> pd.DataFrame:
    """Return the columns ``kinds`` as parsed by pandas; numbers stay text if one is invalid."""
    import pandas as pd

    def parse(number: str) -> pd.DataFrame:
        """Parse the table with numbers of the dtype ``number``."""
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            typed = {**kinds, **dict.fromkeys(numbers, number)}
            dtype: Any = {k: typed.get(name, "str") for k, name in enumerate(header)}
            frame = pd.read_csv(
                path,
                sep=separator,
                header=0,
                names=range(len(header)),  # names may be blank or repeated
                dtype=dtype,
                encoding=_ENCODING,
                keep_default_na=False,
                index_col=False,
                quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
                skipinitialspace=spaced,
            )
            return frame[[header.index(name) for name in kinds]].set_axis([*kinds], axis="columns")

    try:
        try:
            return parse("float64")
        except (pd.errors.ParserError, UnicodeDecodeError):
            raise
        except ValueError:
            return parse("str")
    except UnicodeDecodeError as error:
        raise _not_utf8(path) from error
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        raise _ragged(path, separator, quoted, error) from error


def _header(path: Path, separator: str, quoted: bool) -> list[str]:
    try:
        with _open(path) as f:
            header = next(_records(f, separator, quoted), (1, []))[1]
    except UnicodeDecodeError as error:
        raise _not_utf8(path) from error
    except csv.Error as error:
        raise DataError(f"cannot be read as a table ({error})", file=path, row=1) from error
    except OSError as error:
        remedy = f"Does {path.parent} hold the data as published?"
        raise DataError(f"cannot be opened ({error.strerror})", file=path, remedy=remedy) from error
    if not header:
        raise DataError("a header line is wanted, the file is empty", file=path, remedy="Fetch it again")
    return [clean_name(name) for name in header]


def _not_utf8(path: Path) -> DataError:
    with path.open("rb") as f:
        for number, line in enumerate(f, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                return DataError(
                    f"UTF-8 text is wanted, got the byte 0x{line[error.start]:02x}",
                    file=path,
                    row=number,
                    remedy=to_utf8(line),
                )
    return DataError("UTF-8 text is wanted", file=path, remedy="Convert it with iconv")


def _ragged(path: Path, separator: str, quoted: bool, error: Exception) -> DataError:
    """Describe the first row with more fields than the header, or the parser's error."""
    with _open(path) as f:
        try:
            records = _records(f, separator, quoted)
            width = len(next(records)[1])
            for line, fields in records:
                if len(fields) > width:
                    return DataError(
                        f"{width} fields are wanted, as in the header, got {len(fields)}",
                        file=path,
                        row=line,
                        remedy=f"Put text that holds {separator!r} in quotes" if quoted else _AS_PUBLISHED,
                    )
        except csv.Error:
            pass
    return DataError(f"cannot be read as a table ({error})", file=path, remedy="Fetch the file again")


def _open(path: Path) -> TextIO:
    return path.open(encoding=_ENCODING, newline="")


def _records(f: TextIO, separator: str, quoted: bool) -> Iterator[tuple[int, list[str]]]:
    """Yield (first line, fields) of each record that is not blank, counted as pandas does."""
    csv.field_size_limit(_LONGEST_FIELD)  # process-wide; pandas has no limit, and a history may be long
    reader = csv.reader(f, delimiter=separator, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE)
    begins = 1
    for fields in reader:
        if len(fields) > 1 or "".join(fields).strip():
            yield begins, fields
        begins = reader.line_num + 1
