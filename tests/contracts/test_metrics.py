"""What every metric promises: a number per row, whatever stands beside it, in its range, with its recipe."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from pictures import ColourEncoder, picture_rows

from recsim_gen.core.registry import METRICS, resolve
from recsim_gen.core.results import plain
from recsim_gen.metrics.recipes import Metric, Recipe, stamp
from recsim_gen.metrics.resources import Resources
from recsim_gen.metrics.rows import Rows
from recsim_gen.metrics.scoring import open_metric, open_metrics, score_images

SPECS = [
    "ssim",
    "ssim_history:torchmetrics",
    "lpips[random-alex]",
    "lpips_history[random-squeeze]:x100",
    "st_lpips",
    "cps[colour]",
    "cpis[colour]:x100",
    "cs[colour]",
    "cis[colour]",
    "aesthetic[colour]:pmg-bench",
    "hpsv2[colour]",
    "diversity[colour]",
    "cmmd[colour]",
    "frechet[colour]",
]
OF_GROUPS = ("diversity", "cmmd", "frechet")


@pytest.fixture(scope="module")
def whole() -> Rows:
    rows = picture_rows(n=6, size=(36, 36))
    text = np.array([f"{i} 0 {9 - i}" for i in range(6)])
    return dataclasses.replace(
        rows, target_text=text, prompt=text, history_text=np.stack([text, np.roll(text, 1)], 1)
    )


def opened(spec: str) -> Metric:
    return open_metric(spec, Resources(encoders={"colour": ColourEncoder()}))


def part(rows: Rows, at: np.ndarray) -> Rows:
    fields = {
        f.name: getattr(rows, f.name) for f in dataclasses.fields(rows) if f.name not in ("store", "labels")
    }
    return Rows(rows.store, **{name: None if x is None else x[at] for name, x in fields.items()})


@pytest.mark.usefixtures("apart")
@pytest.mark.parametrize("spec", SPECS)
def test_a_number_for_each_row_that_permutes_with_it(spec, whole):
    metric = opened(spec)
    assert isinstance(metric, Metric)
    assert metric.name == spec
    value = metric(whole)
    assert value.shape == (6,)
    assert value.dtype == np.float64
    low, high = metric.range
    assert ((value >= low - 1e-6) & (value <= high + 1e-6) | np.isnan(value)).all()
    assert not np.isnan(value).all()
    order = np.random.default_rng(0).permutation(6)
    assert metric(part(whole, order)) == pytest.approx(value[order], abs=1e-6, nan_ok=True)


@pytest.mark.usefixtures("apart")
@pytest.mark.parametrize("spec", [s for s in SPECS if not s.startswith(OF_GROUPS)])
def test_a_row_does_not_depend_on_the_others(spec, whole):
    metric = opened(spec)
    assert metric(part(whole, np.array([4]))) == pytest.approx(metric(whole)[[4]], abs=1e-6, nan_ok=True)


@pytest.mark.usefixtures("apart")
@pytest.mark.parametrize("spec", SPECS)
def test_its_recipe_is_stamped_and_what_it_needs_is_told(spec, whole):
    metric = opened(spec)
    found = json.loads(json.dumps(plain(stamp(metric))))
    assert found["metric"] == spec
    assert found["direction"] in ("higher is better", "lower is better", "no direction")
    assert found["recipe"]["scale"] == (100 if ":x100" in spec else 1)
    assert found["recipe"]["resize"]
    assert bool(found["recipe"]["weights"]) == bool(found["recipe"]["backbone"])
    bare = Rows(whole.store, whole.image)
    (there,) = open_metrics([spec], Resources(encoders={"colour": ColourEncoder()}), has=bare.has)
    frame = score_images(bare, [there])
    assert frame[spec].isna().all() == bool(metric.needs)


def test_every_registered_metric_exists():
    assert all(callable(resolve(name, METRICS, "metric")) for name in METRICS)


def test_a_metric_of_the_readers_own(whole):
    metric = open_metric("test_metrics:Brightness")
    assert score_images(whole, [metric])["brightness"].between(0, 1).all()


class Brightness:
    """Any ``module:Class`` that keeps to the protocol."""

    def __init__(self, spec, resources):
        self.name, self.recipe, self.unit, self.range = "brightness", Recipe(), "", (0.0, 1.0)
        self.higher_is_better, self.needs = None, ()

    def __call__(self, rows):
        return rows.store.pixels(rows.image, (8, 8)).mean((1, 2, 3)).numpy()
