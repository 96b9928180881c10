"""Identity at size: 2,000 pictures of 200 identities, as many queries, the ceiling, chance and ablations."""

from __future__ import annotations

import time

import numpy as np
import pytest

from recsim_gen.core.randomness import Rng
from recsim_gen.core.results import Results
from recsim_gen.metrics.identity.evaluation import EncodedImages, Smaller, measure, measure_noise
from recsim_gen.metrics.identity.matching import Labelled

IDENTITIES, EACH, WIDTH = 200, 10, 768
BAR = 60  # seconds


@pytest.mark.benchmark
def test_two_thousand_pictures_are_matched_within_a_minute():
    rng = np.random.default_rng(0)
    name = np.repeat(np.char.add("i", np.arange(IDENTITIES).astype(str)), EACH)
    rows = np.arange(len(name))

    def images(own: np.ndarray | None = None) -> EncodedImages:
        points = Labelled(rng.standard_normal((len(name), WIDTH)), name, np.full(len(name), "all"))
        return EncodedImages(points, rows.astype(str), None, rows, own)  # type: ignore[arg-type]

    gallery, results = images(), Results("identity", {})
    methods = {
        "generated": images(),
        "real": EncodedImages(gallery.points, gallery.files, gallery.reader, rows, rows),
    }
    smaller = Smaller(images=(1, 5), identities=(10, 100), draws=2)
    start, cpu = time.perf_counter(), time.process_time()
    measure(methods, gallery, results, encoder="given", smaller=smaller, rng=Rng(0))
    measure_noise(methods["generated"], gallery, results, rng=Rng(0))
    wall, used = time.perf_counter() - start, time.process_time() - cpu
    print(f"\nidentity, {len(name):,} queries to {len(name):,} pictures: {used:.1f} s CPU, {wall:.1f} s")
    assert used < BAR
