"""Options of a command: a frozen dataclass, filled from the command line and from files.

A command module looks like this; it imports nothing heavy at the top::

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

Options that several commands share are defined once, with their help texts, in `core.options`. How a field is
written on the command line and in the file of ``--config FILE`` (YAML or JSON):

=====================================  ==============================  =============================
field                                  command line                    file
=====================================  ==============================  =============================
``tracking_uri: str | None``           ``--tracking-uri URI``          ``tracking_uri: URI``
``seeds: tuple[int, ...]``             ``--seeds 0 1 2``               ``seeds: [0, 1, 2]``
``quiet: bool = False``                ``--quiet``                     ``quiet: true``
``verify: bool = True``                ``--no-verify``                 ``verify: false``
``ranker: RankerSpec``                 ``--ranker micro``              ``ranker: micro``
its settings                           ``--ranker-settings.epochs 50`` ``ranker_settings: {epochs: 50}``
list of its settings                   ``--ranker.help micro``
``encoders: dict[str, str] | None``    ``--encoders.text words``       ``encoders: {text: words}``
``verifier: VerifierConfig``           ``--verifier.epochs 5``         ``verifier: {epochs: 5}``
``from_: str``                         ``--from NAME``                 ``from: NAME``
=====================================  ==============================  =============================

If a command has the settings of one part besides those of its data and judges, ``--settings`` is short for
them. If several parts are given (``--ranker micro vbpr``), each gets the settings. Precedence, also for each
single setting: command line > file (a later file over an earlier one) > defaults. The types of all values
are checked before the command starts. A command writes its options as ``config.yaml`` beside
``results.json``; it can be passed to ``--config``. For commands with several actions see
`command_line.actions`.
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
from recsim_gen.core.command_line.preflight import check_packages, preflight
from recsim_gen.core.errors import RecsimError, RecsimWarning
from recsim_gen.core.processes import works_alone
from recsim_gen.core.progress import quietly


class Terminated(KeyboardInterrupt):
    """The process was asked to terminate (SIGTERM), by a scheduler or by ``kill``."""


def run(
    main: Callable[..., Any] | Mapping[str, Callable[..., Any]],
    argv: Sequence[str] | None = None,
    *,
    shared: bool = False,
) -> int:
    """Run a command and return its exit code.

    Parameters
    ----------
    main
        Function that takes the options of the command, or {action: function} (see `command_line.actions`).
    argv
        Arguments; default: those of the process.
    shared
        Whether several processes (``accelerate launch``, ``torchrun``) share the work. If not, the first
        process does it and the others return at once.

    Returns
    -------
    int
        0: success, unless ``main`` returns another code. 2: an error that the user can fix, printed to
        standard error without a traceback. 130: interrupted. 143: terminated by SIGTERM. In the last two
        cases runs are closed and temporary files removed. Any other exception is a bug and keeps its
        traceback.
    """
    if not shared and not works_alone():
        return 0
    # Spinning threads slow a busy machine several times; torch reads this variable when it is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault(
        "THP_MEM_ALLOC_ENABLE", "1"
    )  # large tables in huge pages, which take less time to get
    for stream in (sys.stdout, sys.stderr):  # a terminal with a smaller character set shows "?"
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        check_packages()
        argv = sys.argv[1:] if argv is None else argv
        if isinstance(main, Mapping):
            main, argv = chosen(main, argv)
        with warnings.catch_warnings(), _ended_in_order():
            if not sys.warnoptions:  # warnings of libraries are for their developers; python -W shows them
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
        sys.stderr.write("ended by SIGTERM; start the same command again to continue\n")
        return 128 + signal.SIGTERM
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; start the same command again to continue\n")
        return 130
    return code if isinstance(code, int) else 0


@contextlib.contextmanager
def _ended_in_order() -> Iterator[None]:
    """Context in which SIGTERM raises `Terminated` once, so that open resources are closed."""

    def end(number: int, frame: FrameType | None) -> None:
        """Raise `Terminated`, and ignore further SIGTERM; forked workers exit at once."""
        if os.getpid() != owner:  # a worker that was forked inside
            os._exit(128 + number)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Terminated

    if threading.current_thread() is not threading.main_thread():  # signals can only be caught there
        yield
        return
    owner = os.getpid()
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
