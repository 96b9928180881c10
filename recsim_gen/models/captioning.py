"""Captions for many images: each image once, cached immediately, distributed over processes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import numpy as np

from recsim_gen.core.processes import this_process
from recsim_gen.core.progress import bar
from recsim_gen.core.store import cache_dir, fingerprint
from recsim_gen.models.captioners import MAX_TOKENS

if TYPE_CHECKING:
    from recsim_gen.core.types import Episode, ImageReader
    from recsim_gen.models.captioners import Captioner


def caption_images(
    images: ImageReader,
    captioner: Captioner,
    prompt: str,
    *,
    max_tokens: int = MAX_TOKENS,
    batch_size: int = 16,
    title: str = "captions",
) -> dict[int, str]:
    """Return {row: caption} for every row of ``images`` that has an image.

    A caption is cached under the content of its image as soon as its batch is done, so an interrupted run
    resumes, and a larger catalogue only needs captions of its new images. Under ``accelerate launch`` (on
    CPUs ``torchrun``) each process makes its share, and all return all captions.
    """
    from accelerate.utils import gather_object

    process = this_process()
    rows = np.flatnonzero(images.present)[process.process_index :: process.num_processes].tolist()
    folder = cache_dir() / "captions" / fingerprint(captioner.fingerprint, prompt, max_tokens)
    made: list[tuple[int, str]] = []
    with (
        _Kept(folder, process.process_index).open() as kept,
        bar(what=title, total=len(rows), unit="picture") as shown,
    ):
        for start in range(0, len(rows), batch_size):
            batch = {row: images.read(row) for row in rows[start : start + batch_size]}
            names = {row: fingerprint(np.asarray(picture)) for row, picture in batch.items()}
            new = {name: batch[row] for row, name in names.items() if name not in kept.captions}
            if new:
                lines = captioner.caption(list(new.values()), prompt, max_tokens=max_tokens)
                kept.add(dict(zip(new, lines, strict=True)))
            made += [(row, kept.captions[name]) for row, name in names.items()]
            shown.update(len(batch))
    return dict(sorted(gather_object(made)))


def history_styles(episodes: Sequence[Episode], styles: dict[int, str]) -> dict[str, str]:
    """Return {episode id: style captions of its history}, oldest first, without repetitions, joined by "; ".

    ``styles`` is {row: style caption}; items without one are skipped.
    """
    joined = {}
    for episode in episodes:
        lines = dict.fromkeys(styles[row] for row in episode.history if styles.get(row))
        joined[episode.id] = "; ".join(lines)
    return joined


class _Kept:
    """Captions by name of image, in one append-only file per process (JSON lines)."""

    def __init__(self, folder: Path, process: int) -> None:
        self._file = folder / f"{process}.jsonl"
        self.captions: dict[str, str] = {}
        for file in sorted(folder.glob("*.jsonl")):
            for line in file.read_text(encoding="utf-8").splitlines():
                try:
                    self.captions.update(json.loads(line))
                except ValueError:  # truncated when the process was killed: made again
                    continue
        self._out: TextIO

    @contextmanager
    def open(self) -> Iterator[_Kept]:
        """Context in which captions can be added."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a", encoding="utf-8") as self._out:
            if self._out.tell():
                self._out.write("\n")  # the last line may be truncated
            yield self

    def add(self, captions: dict[str, str]) -> None:
        """Add captions; they are on the disk when this returns."""
        self.captions.update(captions)
        self._out.writelines(json.dumps({name: line}) + "\n" for name, line in captions.items())
        self._out.flush()
