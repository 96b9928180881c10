"""Queries against galleries: known worlds, smaller galleries, chance, and what makes no sense."""

import csv

import brought
import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import average_precision_score

from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.results import Results
from recsim_gen.datasets.gallery import load
from recsim_gen.metrics.identity.average_precision import chance_level
from recsim_gen.metrics.identity.evaluation import (
    Smaller,
    encode_images,
    judge_methods,
    measure,
    measure_noise,
)
from recsim_gen.metrics.identity.matching import Labelled, ablate, match, nearest, random_features
from recsim_gen.metrics.identity.queries import hold_out, read_queries, refuse_doubles


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RECSIM_CACHE", str(tmp_path / "cache"))


def points(identities, each, spread, *, seed=0, width=16, groups=1):
    """Pictures of identities around a centre each; ``spread`` is how far they lie from it."""
    centre = np.random.default_rng(99).standard_normal((identities, width))
    code = np.repeat(np.arange(identities), each)
    x = centre[code] + spread * np.random.default_rng(seed).standard_normal((len(code), width))
    return Labelled(x, np.char.add("i", code.astype(str)), (code % groups).astype(str))


def test_a_query_is_compared_with_its_group_alone_as_by_hand():
    gallery, queries = points(6, 5, 1.0, groups=2), points(6, 2, 1.0, seed=1, groups=2)
    table = match(queries, gallery)
    for k in range(len(queries)):
        inside = gallery.group == queries.group[k]
        cosine = gallery.x[inside] @ queries.x[k]
        own = gallery.identity[inside] == queries.identity[k]
        assert table["map"][k] == pytest.approx(average_precision_score(own, cosine))
        assert table["similarity"][k] == pytest.approx(cosine[own].mean())
        assert table["similarity_others"][k] == pytest.approx(cosine[~own].mean())
        assert table["chance"][k] == pytest.approx(chance_level(5, 15))


def test_clear_identities_are_found_and_lost_ones_are_not():
    gallery = points(8, 6, 0.1)
    clear = match(points(8, 4, 0.1, seed=1), gallery)["map"].mean()
    blurred = match(points(8, 4, 2.0, seed=1), gallery)["map"].mean()
    assert clear == 1
    assert 0.2 < blurred < 0.9


def test_a_real_picture_does_not_find_itself():
    gallery = points(5, 4, 2.0)
    alone = match(gallery, gallery, own=np.arange(len(gallery)))
    assert alone["map"].mean() < match(gallery, gallery)["map"].mean()
    np.testing.assert_allclose(alone["chance"], chance_level(3, 19))
    twice = Labelled(np.delete(gallery.x, 7, 0), np.delete(gallery.identity, 7), np.delete(gallery.group, 7))
    one = Labelled(gallery.x[[7]], gallery.identity[[7]], gallery.group[[7]])
    assert alone["map"][7] == pytest.approx(match(one, twice)["map"][0])


def test_random_features_are_at_chance_within_the_interval():
    gallery, queries = points(40, 10, 0.1), points(40, 5, 0.1, seed=1)
    found = match(*random_features(queries, gallery, Rng(0)))
    by_identity = found.groupby("identity")["map"].mean()
    error = by_identity.std() / np.sqrt(len(by_identity))
    assert abs(by_identity.mean() - chance_level(10, 400)) < 3 * error


def test_smaller_galleries_are_of_the_size_asked_for():
    gallery, queries = points(6, 5, 1.5, groups=2), points(6, 2, 1.5, seed=1, groups=2)
    images = ablate(queries, gallery, "images", [1, 2, 5], rng=Rng(0), draws=3)
    people = ablate(queries, gallery, "identities", [2, 3, 9], rng=Rng(0), draws=3)
    for table, expected in (
        (images, {1: chance_level(1, 3), 2: chance_level(2, 6), 5: chance_level(5, 15)}),
        (people, {2: chance_level(5, 10), 3: chance_level(5, 15), 9: chance_level(5, 15)}),
    ):
        for size, chance in expected.items():
            np.testing.assert_allclose(table.loc[table["size"] == size, "chance"], chance)
    whole = match(queries, gallery)
    for table, size in ((images, 5), (people, 3)):
        np.testing.assert_allclose(table.loc[table["size"] == size, "map"], whole["map"])
    # More identities never concern the pairwise similarity; they make the search harder.
    np.testing.assert_allclose(people.loc[people["size"] == 2, "similarity"], whole["similarity"])
    assert people.loc[people["size"] == 2, "map"].mean() > whole["map"].mean()


def test_blocks_of_memory_do_not_change_what_is_drawn(monkeypatch):
    gallery, queries = points(6, 5, 1.5), points(6, 3, 1.5, seed=1)
    how = {"rng": Rng(0), "draws": 2}
    whole = [match(queries, gallery), ablate(queries, gallery, "identities", [3], **how)]
    monkeypatch.setattr("recsim_gen.metrics.identity.matching.CELLS_HELD", 100)
    small = [match(queries, gallery), ablate(queries, gallery, "identities", [3], **how)]
    for a, b in zip(whole, small, strict=True):
        np.testing.assert_allclose(a["map"], b["map"])


def test_what_can_not_be_ranked_is_refused():
    gallery, stranger = points(3, 2, 0.1), points(5, 1, 0.1)
    with pytest.raises(DataError, match="no picture of 'i3' to be found"):
        match(stranger, gallery)
    with pytest.raises(DataError, match=r"2 or more identities are wanted .* group '0' has 'i0' alone"):
        match(points(1, 1, 0.1), points(1, 4, 0.1))
    with pytest.raises(SettingError, match=r"sizes by identities must be 2 or more .* got 1"):
        ablate(gallery, gallery, "identities", [1, 2], rng=Rng(0))


def test_nearest_are_in_order():
    gallery = points(4, 3, 0.5)
    rows = np.array([9, 2, 4, 7])
    found = nearest(gallery.x[4], gallery, rows, 3)
    assert found[0] == 4
    cosine = gallery.x[found] @ gallery.x[4]
    assert (np.diff(cosine) <= 0).all()


def world(path, identities=("ann", "bob"), each=4):
    places = [(f"{name}/{k}.png", 10 * i + k) for i, name in enumerate(identities) for k in range(each)]
    return brought.folder(path, {place: brought.picture(seed) for place, seed in places})


def test_queries_come_from_folders_and_tables(tmp_path):
    gallery = load(world(tmp_path / "g"))
    world(tmp_path / "sd", each=2)
    from_folder = read_queries(tmp_path / "sd", gallery)
    assert from_folder.method.tolist() == ["sd"] * 4
    assert from_folder.identity.tolist() == ["ann", "ann", "bob", "bob"]
    assert set(read_queries(f"mine={tmp_path / 'sd'}", gallery).method) == {"mine"}
    with (tmp_path / "sd" / "made.csv").open("w", newline="") as f:
        rows = [["file", "identity", "method"], ["bob/0.png", "ann", "a"], ["ann/1.png", "bob", "b"]]
        csv.writer(f).writerows(rows)
    for source in (tmp_path / "sd", tmp_path / "sd" / "made.csv"):
        table = read_queries(source, gallery)
        assert list(zip(table.files, table.identity, table.method, strict=True)) == [
            ("bob/0.png", "ann", "a"),
            ("ann/1.png", "bob", "b"),
        ]
    refuse_doubles([from_folder, table])
    with pytest.raises(SettingError, match="got 'a' again"):
        refuse_doubles([table, table])
    with pytest.raises(SettingError, match="got 'real' again"):
        refuse_doubles([read_queries(f"real={tmp_path / 'g'}", gallery)])


def test_equal_names_in_two_groups_find_their_own(tmp_path):
    gallery = load(brought.folder(tmp_path / "g", ["cats/left/1.png", "cats/b/1.png", "dogs/left/1.png"]))
    queries = read_queries(brought.folder(tmp_path / "q", ["cats/left/1.png", "dogs/left/9.png"]), gallery)
    assert queries.identity.tolist() == ["left (cats)", "left (dogs)"]


def test_an_identity_that_the_gallery_lacks_is_told(tmp_path):
    gallery = load(world(tmp_path / "g", ("House_Wren", "Elf_Tern")))
    world(tmp_path / "q", ("House_Wren", "Elf_Turn"))
    with pytest.raises(DataError, match=r"no identity 'Elf_Turn'\. Did you mean 'Elf_Tern'\?"):
        read_queries(tmp_path / "q", gallery)


def test_real_pictures_that_ask_are_not_in_the_gallery(tmp_path):
    gallery = load(world(tmp_path / "g", ("a", "b", "c"), each=5))
    split = hold_out(gallery, 3, Rng(0))
    assert np.bincount(np.unique(gallery.identity[split.gallery], return_inverse=True)[1]).tolist() == [3] * 3
    assert len(split.real) == 6
    assert not set(split.real) & set(split.gallery)
    assert (split.own == -1).all()
    assert not np.array_equal(split.gallery, hold_out(gallery, 3, Rng(5)).gallery)
    for images in (None, 5):
        alone = hold_out(gallery, images, Rng(0))
        np.testing.assert_array_equal(alone.own, np.arange(15))


def test_pictures_of_every_kind_can_ask(tmp_path):
    """Sizes, grey, RGBA, 16 bits, and a camera that was turned: the picture is what counts."""
    rng = np.random.default_rng(0)
    for name in ("ann", "bob"):
        for k in range(3):
            pixels = rng.integers(0, 255, (24 + k, 30, 3), dtype=np.uint8)
            pixels[:, :15] = 250 if name == "ann" else 20
            file = tmp_path / "g" / name / f"{k}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(file)
    folder = tmp_path / "q" / "ann"
    folder.mkdir(parents=True)
    base = Image.open(tmp_path / "g" / "ann" / "0.png")
    base.resize((61, 47)).save(folder / "large.png")
    base.convert("L").save(folder / "grey.png")
    base.convert("RGBA").save(folder / "alpha.png")
    Image.fromarray(np.asarray(base.convert("L")).astype(np.uint16) * 257).save(folder / "deep.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    base.transpose(Image.Transpose.ROTATE_90).save(folder / "turned.jpg", exif=exif, quality=98)
    gallery = load(tmp_path / "g")
    source = read_queries(tmp_path / "q", gallery)
    methods, shown = encode_images(gallery, [source], hold_out(gallery, None, Rng(0)), "pixels")
    table = match(methods["q"].points, shown.points).assign(file=methods["q"].files).set_index("file")
    assert table.loc["ann/alpha.png", "similarity"] == table["similarity"].max()
    assert (table.loc[["ann/alpha.png", "ann/large.png", "ann/turned.jpg"], "map"] == 1).all()
    assert table.loc["ann/deep.png", "map"] == pytest.approx(table.loc["ann/grey.png", "map"])
    (folder / "broken.png").write_bytes(brought.picture(1)[:50])
    with pytest.raises(DataError, match=r"broken\.png: the picture cannot be decoded"):
        encode_images(
            gallery, [read_queries(tmp_path / "q", gallery)], hold_out(gallery, None, Rng(0)), "pixels"
        )


def test_sentences_know_what_an_encoder_can_tell(tmp_path):
    gallery = load(world(tmp_path / "g", [f"i{k}" for k in range(6)], each=4))
    queries = read_queries(world(tmp_path / "sd", [f"i{k}" for k in range(6)], each=2), gallery)
    results = Results("identity", {})
    methods, shown = encode_images(gallery, [queries], hold_out(gallery, None, Rng(0)), "pixels")
    smaller = Smaller(identities=(2, 6), draws=2)
    table = measure(methods, shown, results, encoder="pixels", smaller=smaller, rng=Rng(0))
    judge_methods(results, "pixels")
    measure_noise(methods["real"], shown, results, rng=Rng(0))
    assert results.verdicts["ceiling (pixels)"].startswith("undecided: real pictures are not told apart")
    assert "within the interval" in results.verdicts["chance"]
    assert table.groupby("method").size().to_dict() == {"sd": 12, "real": 24}
    sizes = {row["size"] for row in results.rows if row["metric"] == "map_by_identities"}
    assert sizes == {2, 6}
