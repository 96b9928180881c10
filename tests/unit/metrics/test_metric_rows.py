"""From generated batches and from files of any kind to rows; what is broken is told."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from brought import folder, shop
from pictures import random_pictures
from PIL import Image

from recsim_gen.core.errors import DataError
from recsim_gen.core.types import ImageBatch
from recsim_gen.datasets.image_sets import read_images
from recsim_gen.metrics.album import Album
from recsim_gen.metrics.feature_store import FeatureStore
from recsim_gen.metrics.resources import Resources
from recsim_gen.metrics.rows import Rows, rows_of, rows_of_files
from recsim_gen.metrics.scoring import open_metric, open_metrics, score_images
from recsim_gen.models.attribute_reader import ImageVerifier
from recsim_gen.models.family import open_family

EXIF_ORIENTATION = 0x0112


@pytest.fixture(scope="module")
def data():
    return shop()


@pytest.fixture(autouse=True)
def own_cache(apart):
    """Features of other tests are not found."""


def batch(data, generator: str, n: int = 4, seed: int = 0) -> ImageBatch:
    episodes = data.episodes[:n]
    pixels = torch.rand(n, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
    item = np.array([e.reference for e in episodes])
    return ImageBatch(pixels, np.array([e.id for e in episodes]), item, np.full(n, seed), generator)


def test_batches_stand_beside_reference_history_and_captions(data):
    words = {e.id: ["red", "dots"][: 1 + i % 2] for i, e in enumerate(data.episodes)}
    rows = rows_of(data, [batch(data, "one"), batch(data, "two", 2, 1)], history=3, keywords=words)
    album = rows.store.album
    for k, e in enumerate([*data.episodes[:4], *data.episodes[:2]]):
        assert album.read(rows.target[k]).tobytes() == data.catalog.images.read(e.reference).tobytes()
        past = e.history[-3:]
        shown = [album.read(i).tobytes() for i in rows.history[k]]
        assert shown == [data.catalog.images.read(i).tobytes() for i in past]
        assert rows.history_text[k].tolist() == data.catalog.captions[list(past)].tolist()
        assert rows.target_text[k] == data.catalog.captions[e.reference]
        assert (rows.user[k], rows.item[k]) == (e.user, e.reference)
        assert [w for w in rows.keywords[k] if w] == words[e.id]
    frame = score_images(rows, [open_metric("ssim")])
    assert list(frame.columns) == ["variant", "seed", "episode", "item", "person", "ssim"]
    assert frame["variant"].tolist() == ["one"] * 4 + ["two"] * 2
    assert frame["seed"].tolist() == [0] * 4 + [1] * 2


def test_a_picture_counts_as_its_png_would(data, apart):
    """Pixels of a batch are rounded to 8 bits, so that a saved picture has the same numbers."""
    drawn = batch(data, "g")
    files = {}
    for k, e in enumerate(data.episodes[:4]):
        buffer = io.BytesIO()
        pixels = np.rint(255 * drawn.pixels[k].permute(1, 2, 0).double().numpy()).astype(np.uint8)
        Image.fromarray(pixels).save(buffer, "PNG")
        files[f"{data.interactions.user_ids[e.user]}/{data.catalog.item_ids[e.reference]}.png"] = (
            buffer.getvalue()
        )
    saved = rows_of_files(data, read_images(folder(apart / "images", files), data), "g")
    specs = ["ssim", "ssim_history", "cis[pixels]"]
    one, two = (
        score_images(rows, open_metrics(specs)).set_index("episode")[specs]
        for rows in (rows_of(data, [drawn]), saved)
    )
    assert np.allclose(one.sort_index(), two.sort_index(), atol=1e-12)


def kinds() -> dict[str, bytes]:
    """One picture of 40 × 48 in the forms that people bring."""
    image = random_pictures(1, (48, 40))[0]
    turned = Image.Exif()
    turned[EXIF_ORIENTATION] = 6  # shown turned by 90° clockwise
    forms = {
        "plain": (image, {}),
        "rotated": (image.transpose(Image.Transpose.ROTATE_90), {"exif": turned}),
        "rgba": (image.convert("RGBA"), {}),
        "grey": (image.convert("L"), {}),
        "grey16": (Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257), {}),
        "small": (image.resize((33, 35)), {}),
    }
    files = {}
    for name, (form, options) in forms.items():
        buffer = io.BytesIO()
        form.save(buffer, "PNG", **options)
        files[name] = buffer.getvalue()
    return files


def brought(data, place, files: dict[str, bytes]) -> tuple[Rows, dict[str, int]]:
    """The files as pictures of the first episodes; their rows, and which is which."""
    ids, users, of = (
        data.catalog.item_ids,
        data.interactions.user_ids,
        dict(zip(files, data.episodes, strict=False)),
    )
    named = {f"{users[e.user]}/{ids[e.reference]}.png": files[name] for name, e in of.items()}
    rows = rows_of_files(data, read_images(folder(place, named), data), "mine")
    row = {episode: k for k, episode in enumerate(rows.labels["episode"].tolist())}
    return rows, {name: row[e.id] for name, e in of.items()}


def test_pictures_of_every_form_are_read_as_people_see_them(data, apart):
    rows, row = brought(data, apart / "images", kinds())
    number = {name: rows.image[k] for name, k in row.items()}
    assert number["plain"] == number["rotated"] == number["rgba"]  # the same pixels: the same number
    assert number["grey"] == number["grey16"] != number["plain"]
    same = Rows(rows.store, rows.image, target=np.full(len(rows), number["plain"]))
    for spec in ("ssim", "lpips[random-alex]"):
        found = open_metric(spec)(same)
        best = 1.0 if spec == "ssim" else 0.0
        assert found[[row["plain"], row["rotated"], row["rgba"]]] == pytest.approx(best, abs=1e-6)
        assert np.isfinite(found).all()
        assert abs(found[row["small"]] - best) > 5e-6


def test_a_corrupt_picture_is_named(data, apart):
    files = kinds()
    files["plain"] = files["plain"][:200]
    with pytest.raises(DataError, match=r"images/.*\.png: the picture cannot be decoded"):
        brought(data, apart / "images", files)


def test_oracle_utility_is_that_of_the_look_that_is_read(data, apart):
    torch.manual_seed(0)
    reader = ImageVerifier()
    reader.save_pretrained(apart / "family" / "verifier")
    rows = rows_of(data, [batch(data, "g")])
    resources = Resources(dataset=data, family=open_family(apart / "family"))
    metric = open_metric("oracle_utility", resources)
    codes = reader.eval().read(rows.store.pixels(rows.image, (64, 64))).codes
    assert metric(rows) == pytest.approx(data.utility(rows.user, codes))
    assert str(open_metrics(["oracle_utility"])[0]).startswith("unavailable: needs the users' true tastes")


def test_an_album_keeps_the_same_pixels_once():
    album = Album()
    one, two = random_pictures(2)
    assert album.add_images([one, two, one.copy()]).tolist() == [0, 1, 0]
    assert album.add_images([two]).tolist() == [1]
    assert album.sizes.tolist() == [[48, 40]] * 2
    with pytest.raises(DataError, match="RGB pictures are wanted, got mode I;16"):
        album.add_images([Image.fromarray(np.zeros((4, 4), dtype=np.uint16))])


def test_pixels_at_their_own_size_are_untouched():
    album = Album()
    image = random_pictures(1)[0]
    store = FeatureStore(album)
    found = store.pixels(album.add_images([image]), (48, 40))
    assert torch.equal((255 * found[0]).round().byte().permute(1, 2, 0), torch.from_numpy(np.array(image)))


def test_batches_that_do_not_fit_are_told(data):
    wrong = batch(data, "g")
    strange = ImageBatch(wrong.pixels, np.full(4, "nobody"), wrong.item, wrong.seed, "g")
    with pytest.raises(DataError, match="unknown episode 'nobody' of boutique"):
        rows_of(data, [strange])
    other = ImageBatch(wrong.pixels, wrong.episode, wrong.item + 1, wrong.seed, "g")
    with pytest.raises(DataError, match="has reference row"):
        rows_of(data, [other])
    with pytest.raises(DataError, match="keywords of every episode are wanted, got none of"):
        rows_of(data, [wrong], keywords={})
    with pytest.raises(DataError, match="target must have 1 rows, got 2"):
        Rows(None, np.zeros(1, dtype=int), target=np.zeros(2, dtype=int))
    with pytest.raises(DataError, match=r"rows with keywords \(keywords of each user's taste\) are wanted"):
        rows_of(data, [wrong]).get("keywords")
