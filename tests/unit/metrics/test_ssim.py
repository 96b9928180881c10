"""SSIM agrees with the libraries whose recipe it follows, and each recipe's quirk shows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pictures import picture_rows, plain_picture, random_pictures, rgb
from skimage.metrics import structural_similarity
from torchmetrics.functional.image import structural_similarity_index_measure

from recsim_gen.core.errors import DataError
from recsim_gen.metrics.album import Album
from recsim_gen.metrics.feature_store import FeatureStore
from recsim_gen.metrics.rows import Rows
from recsim_gen.metrics.scoring import open_metric
from recsim_gen.metrics.ssim import Structure, smooth


def by_torchmetrics(x: np.ndarray, y: np.ndarray, data_range: float) -> np.ndarray:
    """In float64: in float32 its own rounding reaches 1.4e-5 on smooth pictures."""
    pair = [torch.from_numpy(a).permute(0, 3, 1, 2) for a in (x, y)]
    values = structural_similarity_index_measure(*pair, data_range=data_range, reduction="none")
    return values.numpy()


@pytest.mark.parametrize("size", [(48, 40), (11, 11), (64, 130), (75, 12), (160, 160)])
def test_ours_is_scikit_images(size):
    rows = picture_rows(size=size)
    x, y = rgb(rows, rows.image), rgb(rows, rows.target)
    how = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    wanted = [structural_similarity(a, b, channel_axis=2, **how) for a, b in zip(x, y, strict=True)]
    assert open_metric("ssim")(rows) == pytest.approx(wanted, abs=1e-5)


def test_the_recipe_torchmetrics_is_torchmetrics():
    rows = picture_rows()
    wanted = by_torchmetrics(rgb(rows, rows.image), rgb(rows, rows.target), 1.0)
    assert open_metric("ssim:torchmetrics")(rows) == pytest.approx(wanted, abs=1e-5)


def test_pmg_bench_takes_data_range_2_for_pictures_in_0_1_and_so_reads_too_high():
    rows = picture_rows()
    x, y = rgb(rows, rows.image), rgb(rows, rows.target)
    metric = open_metric("ssim:pmg-bench")
    assert metric.recipe.resize == "to 512 x 512, bicubic"
    structure, (left, right) = metric._structure, torch.arange(8).reshape(2, 4)
    pixels = torch.from_numpy(np.concatenate([x, y])).permute(0, 3, 1, 2)
    found = structure.compare(structure.prepare(pixels), left, right).numpy()
    assert found == pytest.approx(by_torchmetrics(x, y, 2.0), abs=1e-5)
    assert (found > by_torchmetrics(x, y, 1.0) + 1e-3).all()


def test_pigeon_counts_in_255_and_gets_the_same_number_as_ours():
    rows = picture_rows()
    assert open_metric("ssim:pigeon")(rows) == pytest.approx(open_metric("ssim")(rows), abs=1e-6)


def test_pigeon_and_ours_resize_differently():
    rows = picture_rows(size=(64, 64), other=(32, 48))
    ours, pigeon = open_metric("ssim"), open_metric("ssim:pigeon")
    assert "bicubic" in ours.recipe.resize
    assert "bilinear" in pigeon.recipe.resize
    assert np.abs(ours(rows) - pigeon(rows)).max() > 1e-4


def test_x100_is_ours_times_100():
    rows = picture_rows()
    assert open_metric("ssim:x100")(rows) == pytest.approx(100 * open_metric("ssim")(rows))


def test_a_picture_is_wholly_like_itself_and_a_pair_like_its_mirror():
    rows = picture_rows()
    same = Rows(rows.store, rows.image, target=rows.image)
    assert open_metric("ssim")(same) == pytest.approx(1, abs=1e-6)
    there = Rows(rows.store, rows.image, target=rows.target)
    back = Rows(rows.store, rows.target, target=rows.image)
    assert open_metric("ssim")(there) == pytest.approx(open_metric("ssim")(back), abs=1e-6)


def test_flat_pictures_differ_by_their_light_alone():
    """No variance: SSIM = (2ab + C1) / (a² + b² + C1)."""
    store = FeatureStore(Album())
    a, b = store.album.add_images([plain_picture((51, 51, 51)), plain_picture((204, 204, 204))])
    found = open_metric("ssim")(Rows(store, np.array([a]), target=np.array([b])))
    assert found == pytest.approx((2 * 0.2 * 0.8 + 1e-4) / (0.2**2 + 0.8**2 + 1e-4), abs=1e-6)


def test_history_is_the_mean_over_its_pictures():
    rows = picture_rows()
    first, second = (
        open_metric("ssim")(Rows(rows.store, rows.image, target=rows.history[:, k])) for k in (0, 1)
    )
    assert np.isnan(second[0])  # whose history has one picture
    assert open_metric("ssim_history")(rows) == pytest.approx(np.nanmean([first, second], axis=0))


def test_rows_without_a_picture_to_compare_with_are_nan():
    rows = picture_rows()
    without = Rows(rows.store, rows.image, target=np.full(4, -1), history=np.full((4, 2), -1))
    assert np.isnan(open_metric("ssim")(without)).all()
    assert np.isnan(open_metric("ssim_history")(without)).all()


def test_the_window_is_a_gaussian_of_sum_1():
    spot = torch.zeros(1, 1, 21, 21)
    spot[..., 10, 10] = 1
    seen = smooth(spot)[0, 0]
    assert seen.shape == (11, 11)
    assert float(seen.sum()) == pytest.approx(1)
    assert float(seen[5, 5] / seen[5, 6]) == pytest.approx(np.exp(1 / (2 * 1.5**2)))


def test_a_picture_smaller_than_the_window_is_refused():
    store = FeatureStore(Album())
    a, b = store.album.add_images(random_pictures(2, (10, 30)))
    with pytest.raises(DataError, match="SSIM wants pictures of at least 11 x 11 pixels, got 10 x 30"):
        open_metric("ssim")(Rows(store, np.array([a]), target=np.array([b])))


def test_pairs_do_not_depend_on_what_stands_beside_them():
    pixels = torch.rand(5, 3, 20, 20, generator=torch.Generator().manual_seed(0))
    how = Structure()
    together = how.compare(how.prepare(pixels), torch.tensor([0, 1, 0]), torch.tensor([2, 3, 4]))
    alone = [
        how.compare(how.prepare(pixels[[a, b]]), *torch.tensor([[0], [1]]))
        for a, b in ((0, 2), (1, 3), (0, 4))
    ]
    assert together == pytest.approx(torch.cat(alone), abs=1e-6)
