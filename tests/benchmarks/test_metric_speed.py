"""Milliseconds a pair of SSIM and LPIPS, against torchmetrics and lpips called picture by picture and
batch by batch, in one run. CPU time, so that what else runs on the machine counts little.

``target``: each picture with one other. ``history``: each with five, two pictures for each user, and
users who share most of their history. Random weights take the same time as trained ones.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import lpips
import numpy as np
import pandas as pd
import pytest
import torch
from pictures import random_pictures
from torchmetrics.functional.image import structural_similarity_index_measure

from recsim_gen.metrics.album import Album
from recsim_gen.metrics.feature_store import FeatureStore
from recsim_gen.metrics.rows import Rows
from recsim_gen.metrics.scoring import open_metric

IMAGES, HISTORY, BATCH = 8, 5, 8
SIDES = (64, 128)


def cpu_milliseconds(work: Callable[[], object], repeat: int = 2) -> float:
    work()
    times = []
    for _ in range(repeat):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return 1e3 * float(np.min(times))


def rows_of_side(side: int) -> Rows:
    store = FeatureStore(Album())
    image = store.album.add_images(random_pictures(IMAGES, (side, side)))
    real = store.album.add_images(random_pictures(IMAGES + HISTORY, (side, side), seed=1))
    user = np.arange(IMAGES) // 2  # two pictures for each user
    history = real[user[:, None] + np.arange(HISTORY)]
    return Rows(store, image, target=real[:IMAGES], history=history)


def measured(name: str, against: str, side: int, theirs: Callable[..., torch.Tensor]) -> dict[str, object]:
    """Decoding is in none of the times but ours."""
    rows = rows_of_side(side)
    other = rows.get(against).reshape(IMAGES, -1)
    left, right = np.repeat(rows.image, other.shape[1]), other.ravel()
    x, y = (rows.store.pixels(numbers, (side, side)) for numbers in (left, right))
    metric = open_metric(name if against == "target" else re.sub(r"^\w+", r"\g<0>_history", name))

    def called(size: int) -> np.ndarray:
        with torch.no_grad():
            parts = [theirs(a, b).flatten() for a, b in zip(x.split(size), y.split(size), strict=True)]
        return torch.cat(parts).reshape(IMAGES, -1).mean(1).numpy()

    assert metric(rows) == pytest.approx(called(BATCH), abs=5e-5)  # torchmetrics rounds in float32
    work = {
        "one by one": lambda: called(1),
        f"batches of {BATCH}": lambda: called(BATCH),
        "ours": lambda: metric(rows),
    }
    times = {what: cpu_milliseconds(do) / len(left) for what, do in work.items()}
    return {"metric": name, "against": against, "side": side, **times}


@pytest.mark.benchmark
@pytest.mark.timeout(1500)
@pytest.mark.usefixtures("apart")
def test_never_slower_than_the_packages():
    def ssim(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return structural_similarity_index_measure(x, y, data_range=1.0, reduction="none")

    package = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    ours = open_metric("lpips[random-alex]")
    package.net.load_state_dict(ours._perceptual.model.net.state_dict())

    def distance(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return package(x, y, normalize=True)

    calls = (("ssim:torchmetrics", ssim), ("lpips[random-alex]", distance))
    table = pd.DataFrame(
        [
            measured(name, against, side, call)
            for name, call in calls
            for against in ("target", "history")
            for side in SIDES
        ]
    )
    for what in ("one by one", f"batches of {BATCH}"):
        table[f"{what} / ours"] = table[what] / table["ours"]
    print("\n" + table.to_markdown(index=False, floatfmt=".3g"))
    # A batch of pairs without a shared picture is the same work here and there: 5% for the clock.
    assert (table[["one by one / ours", f"batches of {BATCH} / ours"]] >= 0.95).all(axis=None)
