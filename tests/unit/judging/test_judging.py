"""Judging from Python: laws of every variant, what is encoded once, and input that cannot be used."""

from __future__ import annotations

from dataclasses import replace

import brought
import numpy as np
import pytest

from recsim_gen.artifacts.trained_rankers import trained_ranker
from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.specs import RankerSpec
from recsim_gen.datasets.image_sets import read_images
from recsim_gen.encoders.features import encode
from recsim_gen.judging.judges import Judge
from recsim_gen.judging.judging import judge
from recsim_gen.judging.queries import Triples, ask, triples_of
from recsim_gen.judging.variants import variants_of


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A small shop, encoded, with MICRO (two seeds) and BPR trained on it; and a cache of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECSIM_CACHE", str(tmp_path_factory.mktemp("cache")))
        dataset = brought.shop()
        catalog = encode(dataset)
        yield dataset, catalog, [trained(name, catalog, dataset, seed) for name, seed in JUDGES]


JUDGES = (("micro", 0), ("micro", 1), ("bpr", 0))


def trained(name, catalog, dataset, seed=0) -> Judge:
    spec = RankerSpec(name, brought.QUICK)
    return Judge(name, seed, trained_ranker(spec, catalog, dataset.interactions, seed=seed), catalog)


def seeing(judges, catalog):
    """The same judges with other items before them."""
    return [replace(one, catalog=catalog) for one in judges]


def own_pictures(dataset, folder):
    """A folder with the items' own pictures, for those that are somebody's test reference."""
    folder.mkdir()
    for item in references(dataset):
        dataset.catalog.images.read(dataset.catalog.row_of[item]).save(folder / f"{item}.png")
    return folder


def test_images_are_encoded_as_the_catalogue_was(apart):
    """Not as the data set is by default: at equal width that would be a wrong number without an error."""
    dataset = brought.shop()
    catalog = encode(dataset, {"image": "brought:Backwards"})
    assert dataset.encoders["image"] == "pixels"
    judges = [trained("micro", catalog, dataset)]
    folder = own_pictures(dataset, apart / "own")
    for more in ({}, {"placebo": folder}):
        result = judge(dataset, judges, folder, headroom_pairs=0, **more)
        assert value(result, "images", "delta_r") == 0
    assert value(result, "placebo", "delta_r") == 0
    others = replace(triples_of(folder, dataset, encode(dataset)), encoder=None)
    wrong = judge(dataset, judges, others, headroom_pairs=0)
    assert value(wrong, "images", "delta_r") != 0  # so the encoder of the data would be seen above


def test_copies_of_the_catalogue_are_named(shop, tmp_path):
    """Other articles' pictures lie inside the catalogue: unnamed they would pass for generated ones."""
    dataset, catalog, judges = shop
    asked = references(dataset)
    (tmp_path / "others").mkdir()
    for item, other in zip(asked, np.roll(asked, 1), strict=True):
        picture = dataset.catalog.images.read(dataset.catalog.row_of[other])
        picture.save(tmp_path / "others" / f"{item}.jpg", quality=90)
    n = len(asked)
    for folder, words in (
        (
            tmp_path / "others",
            f"all: {n} of {n} are a catalogue picture (0 the item's own, {n} another item's)",
        ),
        (
            own_pictures(dataset, tmp_path / "own"),
            f"all: {n} of {n} are a catalogue picture ({n} the item's own",
        ),
        (brought.folder(tmp_path / "new", [f"{item}.png" for item in asked]), f"none: 0 of {n} are"),
    ):
        result = judge(dataset, judges[:1], folder, headroom_pairs=0)
        assert result.results.verdicts["copies"].startswith(words)
    same = judge(dataset, judges[:1], folder, placebo=tmp_path / "own", headroom_pairs=0)
    words = f"placebo: {n} of {n} are a catalogue picture ({n} the item's own"
    assert any(note.startswith(words) for note in same.results.notes)
    triples = triples_of(folder, dataset, catalog)
    assert "copies" not in judge(dataset, judges[:1], triples, headroom_pairs=0).results.verdicts


def test_features_of_another_encoder_are_refused_by_name(shop, tmp_path):
    dataset, catalog, judges = shop
    other = encode(dataset, {"image": "brought:Backwards"})
    assert other.features["image"].shape == catalog.features["image"].shape
    triples = triples_of(own_pictures(dataset, tmp_path / "own"), dataset, other)
    told = r"must be made by 'pixels', as the catalogue's, got some of 'brought:Backwards'.*Make them by 'pix"
    with pytest.raises(DataError, match=told):
        judge(dataset, judges, triples)


def test_judges_of_two_encoders_see_each_in_its_own(shop, tmp_path):
    """Side by side they say what they say alone, and the guards of features name the encoder."""
    dataset, _, judges = shop
    seen = encode(dataset, {**dataset.encoders, "image": "brought:Backwards"})
    other = replace(trained("micro", seen, dataset), name="other")
    folder = brought.folder(tmp_path / "i", [f"{i}.png" for i in references(dataset)])
    quick = {"headroom_pairs": 5, "candidates": 2, "swap_choices": 10}
    both = judge(dataset, [judges[0], other], folder, **quick)
    for one, name in ((judges[0], "micro"), (other, "other")):
        alone = judge(dataset, [one], folder, **quick)
        for variant in ("images", "noise", "own"):
            assert value(both, variant, "delta_r", name) == value(alone, variant, "delta_r", name)
        assert value(both, "images", "swap_test_auc", name) == value(alone, "images", "swap_test_auc", name)
        assert any(
            verdict == alone.results.verdicts["distance"] for verdict in both.results.verdicts.values()
        )
    assert {"distance (pixels)", "distance (brought:Backwards)"} <= set(both.results.verdicts)


def test_a_catalogue_of_features_of_ones_own_cannot_encode_images(shop, tmp_path):
    dataset, catalog, judges = shop
    own = catalog.with_features("image", None, catalog.features["image"])
    folder = own_pictures(dataset, tmp_path / "own")
    silent = r"does not say which encoder made its image features.*encoder=NAME"
    with pytest.raises(DataError, match=silent):
        judge(dataset, seeing(judges, own), folder)
    triples = triples_of(folder, dataset, catalog)
    with pytest.raises(DataError, match=silent):
        judge(dataset, seeing(judges, own), triples)
    unnamed = judge(dataset, seeing(judges, own), replace(triples, encoder=None), headroom_pairs=0)
    said = catalog.with_features("image", None, catalog.features["image"], encoder="pixels")
    for result in (unnamed, judge(dataset, seeing(judges, said), folder, headroom_pairs=0)):
        assert value(result, "images", "delta_r") == 0


def references(dataset, count: int | None = None) -> list[str]:
    """Ids of items that are somebody's test reference."""
    return dataset.catalog.item_ids[sorted({e.reference for e in dataset.episodes})][:count].tolist()


def value(judgement, variant, metric, judge_="micro", seed=None):
    (row,) = [
        r
        for r in judgement.results.rows
        if (r["variant"], r["metric"], r.get("judge"), r["seed"]) == (variant, metric, judge_, seed)
    ]
    return row["value"]


@pytest.fixture(scope="module")
def judgement(shop, tmp_path_factory):
    dataset, _catalog, judges = shop
    folder = tmp_path_factory.mktemp("images")
    brought.folder(folder / "i", [f"{i}.png" for i in references(dataset)])
    brought.folder(
        folder / "p", {f"{i}.png": brought.picture(99 + k) for k, i in enumerate(references(dataset, 9))}
    )
    more = {"candidates": 5, "headroom_pairs": 10, "verify": 3, "seeds": (0, 1)}
    return judge(dataset, judges, folder / "i", placebo=folder / "p", **more)


def test_every_variant_is_there_and_the_laws_hold(judgement, shop):
    dataset = shop[0]
    assert {r["variant"] for r in judgement.results.rows} == {"images", "placebo", "noise", "shuffled", "own"}
    for metric in ("delta_r", "delta_mrr", "improved"):
        for judge_ in ("micro", "bpr"):
            assert value(judgement, "own", metric, judge_) == 0
            for seed in (0, None):
                assert value(judgement, "own", metric, judge_, seed) == 0
        for variant in ("images", "placebo", "noise", "shuffled"):
            assert value(judgement, variant, metric, "bpr") == 0
            assert value(judgement, variant, metric, "micro") != 0
    samples = judgement.samples
    assert (samples.groupby(["judge", "variant"])["triple"].nunique()["micro"]["images"]) == len(
        dataset.episodes
    )
    assert set(samples[samples["variant"] == "placebo"]["item"]) == set(references(dataset, 9))
    assert any(note.startswith("placebo for ") for note in judgement.results.notes)


def test_seeds_are_averaged_triple_by_triple(judgement):
    seeds = [value(judgement, "images", "delta_r", seed=seed) for seed in (0, 1)]
    assert seeds[0] != seeds[1]
    assert value(judgement, "images", "delta_r") == pytest.approx(np.mean(seeds))


def test_every_guard_speaks(judgement):
    verdicts = judgement.results.verdicts
    for guard in ("identity", "placebo", "noise", "shuffled", "headroom"):
        assert {f"{guard} (micro)", f"{guard} (bpr)"} <= set(verdicts)
    assert verdicts["identity (micro)"].startswith("holds: own image: ΔR is exactly 0")
    assert verdicts["headroom (bpr)"].startswith("none: 100% of 10 pairs cannot move")
    assert "bpr-seed0, blind to images, exactly 0" in verdicts["held-out judges"]
    assert {"distance", "hubs"} <= set(verdicts)
    assert "100% of 3 ranks equal" in verdicts["verify (micro-seed0)"]
    assert value(judgement, "images", "verify_largest_difference", "micro-seed1") < 1e-6


def test_images_are_random_pixels_and_the_distance_guard_says_so(judgement):
    (far,) = [g for g in judgement.guards if g.name == "distance"]
    assert far.verdict == "outside"
    assert far.numbers["own_percentile"] < 0.8 < far.numbers["images_percentile"]


def test_chunks_order_and_company_do_not_matter(shop, monkeypatch):
    _, catalog, (first, *_) = shop
    draw = np.random.default_rng(0)
    users, items = draw.integers(25, size=40), draw.integers(90, size=40)
    x = draw.standard_normal((7, catalog.features["image"].shape[1])).astype(np.float32)
    triples = Triples(users, items, draw.integers(7, size=40), x)
    whole = ask(first.ranker, triples)
    monkeypatch.setattr("recsim_gen.judging.queries.CHUNK", 7)
    backwards = ask(first.ranker, Triples(users[::-1], items[::-1], triples.which[::-1], x))
    for name in ("score", "rank", "original_rank", "touched"):
        np.testing.assert_allclose(getattr(backwards, name)[::-1], getattr(whole, name), rtol=1e-12)
    # the controls of an item are the same whoever else is asked about
    some = Triples(users[:3], items[:3], triples.which[:3], x)
    for variant in ("noise", "shuffled"):
        (_, a), (_, b) = (variants_of(t, catalog, (0,))[variant][0] for t in (triples, some))
        assert (a.features[a.which][:3] == b.features[b.which]).all()


def test_an_image_is_encoded_once_for_all_users_and_never_again(shop, tmp_path, monkeypatch):
    from recsim_gen.encoders.pixels import Pixels

    dataset, catalog, _ = shop
    seen = []
    encode_images = Pixels.encode_images

    def counted(self, images):
        seen.append(len(images))
        return encode_images(self, images)

    monkeypatch.setattr(Pixels, "encode_images", counted)
    asked = {f"{item}.png": brought.picture(500 + k) for k, item in enumerate(references(dataset, 3))}
    nobodys = next(i for i in dataset.catalog.item_ids if i not in references(dataset))
    first = brought.folder(tmp_path / "x", {**asked, f"{nobodys}.png": brought.picture(0)})
    triples = triples_of(first, dataset, catalog)
    assert seen == [3]  # what nobody is asked about is not encoded
    users = dataset.interactions.user_ids[:10].tolist()
    elsewhere = triples_of(brought.folder(tmp_path / "y", asked), dataset, catalog, users=users)
    assert seen == [3]
    assert len(elsewhere) == 30
    assert (elsewhere.features == triples.features).all()


def test_the_own_picture_brought_as_a_file_moves_nothing(shop, tmp_path):
    dataset, catalog, judges = shop
    folder = own_pictures(dataset, tmp_path / "own")
    (alone,) = [Judge("mine", None, judges[0].ranker, catalog)]
    result = judge(dataset, [alone], folder, headroom_pairs=0)
    assert value(result, "images", "delta_r", "mine") == 0
    assert "headroom (mine)" not in result.results.verdicts
    assert {r["seed"] for r in result.results.rows} == {None}  # nobody knows its seed


def test_features_that_cannot_be_used_are_told(shop):
    dataset, catalog, judges = shop
    d = catalog.features["image"].shape[1]
    one, x = np.array([0]), np.zeros((1, d), dtype=np.float32)

    def asked(users=one, items=one, which=one, x=x):
        return judge(dataset, judges, Triples(users, items, which, x), headroom_pairs=0)

    with pytest.raises(
        DataError, match=rf"must be \(k, {d}\), as the catalogue's, got \(1, 3\).*another encoder"
    ):
        asked(x=np.zeros((1, 3), dtype=np.float32))
    with pytest.raises(DataError, match="must be finite, got NaN"):
        asked(x=np.full((1, d), np.nan, dtype=np.float32))
    with pytest.raises(DataError, match=r"users must be rows in \[0, 25\), got 25…25"):
        asked(users=np.array([25]))
    with pytest.raises(DataError, match=r"items must be rows in \[0, 90\), got -1…-1"):
        asked(items=np.array([-1]))
    with pytest.raises(DataError, match=r"which must be rows in \[0, 1\), got 1…1"):
        asked(which=np.array([1]))
    with pytest.raises(DataError, match=r"\(B,\) with B > 0"):
        asked(*[np.array([], dtype=int)] * 3)


def test_images_that_cannot_be_used_are_told(shop, tmp_path):
    dataset, _catalog, judges = shop
    item, other = references(dataset, 2)
    broken = brought.folder(tmp_path / "broken", {f"{item}.png": b"no picture at all"})
    with pytest.raises(DataError, match=f"{item}.png: a picture is wanted .*got bytes that begin with b'no"):
        judge(dataset, judges, broken)
    cut = brought.folder(tmp_path / "cut", {f"{item}.png": brought.picture(0)[:200]})
    with pytest.raises(DataError, match=f"{item}.png: the picture cannot be decoded"):
        judge(dataset, judges, cut)
    good = read_images(brought.folder(tmp_path / "good", [f"{item}.png"]), dataset)
    elsewhere = brought.folder(tmp_path / "elsewhere", [f"{other}.png"])
    with pytest.raises(DataError, match="the placebo has no picture of any of the judged items"):
        judge(dataset, judges, good, placebo=elsewhere)
    with pytest.raises(SettingError, match="judging needs a judge"):
        judge(dataset, [], good)
    with pytest.raises(SettingError, match="each judge must be given once, got bpr-seed0, bpr-seed0"):
        judge(dataset, [judges[2], judges[2]], good)
