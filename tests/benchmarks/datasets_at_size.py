"""Opening one generated MovieLens-like folder, in a process of its own: prints seconds and memory as JSON.

    python tests/benchmarks/datasets_at_size.py write 230000 tar FOLDER
    python tests/benchmarks/datasets_at_size.py open FOLDER

n films, each with a tiny poster of its own in a tar or in a folder of folders, and 4.35 n ratings:
230,000 pictures and 1,000,000 choices at the largest size. Opening builds catalogue, choices and
episodes; what is not part of it (the digests of the pictures, one pass over 2,000 pictures) is timed
apart.
"""

from __future__ import annotations

import csv
import io
import json
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
from ranker_at_size import peak_gb

RATINGS_PER_FILM = 1_000_000 / 230_000


def write(n: int, kept: str, folder: Path) -> None:
    """The folder: ``kept`` says whether posters lie in a ``tar`` or in a ``folder``."""
    draw = np.random.default_rng(0)
    folder.mkdir(parents=True)
    with (folder / "movies.csv").open("w", newline="") as f:
        rows = csv.writer(f)
        rows.writerow(["movieId", "title", "genres"])
        rows.writerows([i, f"Film, The {i} (1999)", "Action|Drama"] for i in range(n))
    m = int(RATINGS_PER_FILM * n)
    people = max(1, m // 100)
    pair = draw.choice(people * n, size=m, replace=False)
    table = np.stack(
        [pair // n, pair % n, 1 + draw.integers(5, size=m), draw.integers(10**9, size=m)], axis=1
    )
    header = "userId,movieId,rating,timestamp"
    np.savetxt(folder / "ratings.csv", table, fmt="%d", delimiter=",", header=header, comments="")
    _posters(n, kept, folder)


def _posters(n: int, kept: str, folder: Path) -> None:
    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", (4, 4), (200, 10, 10)).save(out, "PNG")
    data = out.getvalue()
    if kept == "tar":
        with tarfile.open(folder / "posters.tar", "w", format=tarfile.USTAR_FORMAT) as archive:
            for i in range(n):
                info = tarfile.TarInfo(f"posters/{i}.png")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        return
    for i in range(n):
        file = folder / "posters" / f"{i % 1000:03d}" / f"{i}.png"
        if i < 1000:
            file.parent.mkdir(parents=True)
        file.write_bytes(data)


def measure(folder: Path) -> dict[str, float]:
    """Seconds and peak memory of opening; seconds of the digests and of 2,000 pictures in turn.

    Seconds are of the processor, which do not grow when others use the machine, and ``wall`` of the clock.
    """
    from recsim_gen.datasets.movielens import load

    before = peak_gb()
    wall, start = time.perf_counter(), time.process_time()
    data = load(folder)
    opened, wall = time.process_time() - start, time.perf_counter() - wall
    above = peak_gb() - before
    images = data.catalog.images
    assert images is not None
    assert images.present.all()
    start = time.process_time()
    images.fingerprint  # noqa: B018 (made when first asked for)
    digests = time.process_time() - start
    rows = np.random.default_rng(1).integers(len(data.catalog), size=2000).tolist()
    start = time.process_time()
    for row in rows:
        images.read(row)
    return {
        "items": len(data.catalog),
        "choices": len(data.interactions),
        "episodes": len(data.episodes),
        "open": opened,
        "wall": wall,
        "above_start_gb": above,
        "digests": digests,
        "read_ms": (time.process_time() - start) / 2,
        "peak_gb": peak_gb(),
    }


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(int(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))
    else:
        sys.stdout.write(json.dumps(measure(Path(sys.argv[2]))) + "\n")
