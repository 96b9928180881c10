"""Options of a command: a frozen dataclass, filled from the command line and from files.

A command file looks like this, and nothing in it is heavy at import::

    @dataclass(frozen=True, kw_only=True)
    class Options(RankerOptions, ExperimentOptions):
        '''Options of train_ranker.

        Parameters
        ----------
        seeds
            Seeds of training.
        '''

        seeds: tuple[int, ...] = (0, 1, 2)
        output: Path = Path("runs/train_ranker")

    def main(options: Options) -> None:
        '''Train a ranker and report how well it ranks.'''
        import torch

    if __name__ == "__main__":
        raise SystemExit(run(main))

Options that commands share stand in `core.options`, once, with their lines of help. What a field means
on the command line and in the file of ``--config FILE`` (YAML or JSON):

=====================================  ==============================  =============================
field                                  command line                    file
=====================================  ==============================  =============================
``tracking_uri: str | None``           ``--tracking-uri URI``          ``tracking_uri: URI``
``seeds: tuple[int, ...]``             ``--seeds 0 1 2``               ``seeds: [0, 1, 2]``
``quiet: bool = False``                ``--quiet``                     ``quiet: true``
``verify: bool = True``                ``--no-verify``                 ``verify: false``
``ranker: RankerSpec``                 ``--ranker micro``              ``ranker: micro``
its settings                           ``--ranker-settings.epochs 50`` ``ranker_settings: {epochs: 50}``
what there is to set                   ``--ranker.help micro``
``encoders: dict[str, str] | None``    ``--encoders.text words``       ``encoders: {text: words}``
``verifier: VerifierConfig``           ``--verifier.epochs 5``         ``verifier: {epochs: 5}``
``from_: str``                         ``--from NAME``                 ``from: NAME``
=====================================  ==============================  =============================

Where a command has the settings of one part beside its data's and its judges', ``--settings`` is short
for them. Of several parts (``--ranker micro vbpr``) each gets them. Precedence: command line > file (a
later file over an earlier one) > defaults, for each setting too. All values are checked for their types
before the command starts. ``config.yaml``, which a command writes beside ``results.json``, is such a file.
A command of several actions: see `command_line.actions`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType
from typing import Any

from recsim_gen.core.command_line.actions import chosen
from recsim_gen.core.command_line.parsing import parse
from recsim_gen.core.errors import RecsimError, RecsimWarning
from recsim_gen.core.preflight import check_packages, preflight
from recsim_gen.core.processes import works_alone
from recsim_gen.core.progress import quietly


class Terminated(KeyboardInterrupt):
    """The process was asked to end: by a scheduler, or by ``kill``."""


def run(
    main: Callable[..., Any] | Mapping[str, Callable[..., Any]],
    argv: Sequence[str] | None = None,
    *,
    shared: bool = False,
) -> int:
    """Run a command with these arguments (default: those of the process); give its exit code.

    ``main`` is one function of its options, or several by name (see `command_line.actions`). 0: done,
    unless it returns a code of its own. 2: an error that the reader can act on, told on standard error
    without a traceback. 130: interrupted. 143: ended by SIGTERM, as schedulers do; as when interrupted, runs
    are closed and temporary files removed. Any other exception is a defect of ours and keeps its traceback.

    ``shared``: several processes (``accelerate launch``, ``torchrun``) share its work. Otherwise the first
    of them does it alone, and the others are done at once.
    """
    if not shared and not works_alone():
        return 0
    # Threads that spin while they wait make a busy machine several times slower; read when torch loads.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    for stream in (sys.stdout, sys.stderr):  # a terminal of fewer letters shows a question mark
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        check_packages()
        argv = sys.argv[1:] if argv is None else argv
        if isinstance(main, Mapping):
            main, argv = chosen(main, argv)
        with warnings.catch_warnings(), _ended_in_order():
            if not sys.warnoptions:  # python -W shows those of libraries, which are for their developers
                warnings.simplefilter("ignore")
                warnings.simplefilter("always", RecsimWarning)
            options = parse(main, argv)
            preflight(options)
            with quietly(bool(getattr(options, "quiet", False))):
                code = main(options)
    except RecsimError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except Terminated:
        sys.stderr.write("ended by SIGTERM; start the same command again to go on\n")
        return 128 + signal.SIGTERM
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; start the same command again to go on\n")
        return 130
    return code if isinstance(code, int) else 0


@contextlib.contextmanager
def _ended_in_order() -> Iterator[None]:
    """Inside, SIGTERM raises `Terminated`, once: what is open is closed on the way out."""

    def end(number: int, frame: FrameType | None) -> None:
        if os.getpid() != owner:  # a worker that was forked inside
            os._exit(128 + number)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Terminated

    if threading.current_thread() is not threading.main_thread():  # only there can signals be caught
        yield
        return
    owner = os.getpid()
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
