"""The map of the catalogue: what looks alike lies together, and the page shows whose is what."""

from __future__ import annotations

import numpy as np
import pytest
from browser import Browser
from PIL import Image

from analysis import embedding_map as module
from analysis.embedding_map import ACROSS, TILE, embedding_map, places
from analysis.gallery import Chosen, Drawn, Person, gallery
from recsim_gen.core.types import Episode

GROUPS, EACH, WIDTH = 4, 15, 12
COLOURS = [(200, 30, 30), (30, 30, 200), (30, 160, 60), (200, 180, 30)]
CENTRES = np.eye(GROUPS, WIDTH, dtype=np.float32) * 10


def square(group: int) -> Image.Image:
    return Image.new("RGB", (20, 20), COLOURS[group])


def features(groups, seed=0):
    """(n, WIDTH) of pictures of these groups."""
    noise = np.random.default_rng(seed).normal(size=(len(groups), WIDTH))
    return (CENTRES[groups] + noise).astype(np.float32)


@pytest.fixture(scope="module", autouse=True)
def empty_cache(tmp_path_factory):
    """A cache of this file's own, so that no map is of earlier code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECSIM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def made(empty_cache):
    """Sixty items of four looks; for two people a generator draws the look of group 2."""
    groups = np.repeat(np.arange(GROUPS), EACH)
    episodes = [Episode("a", 0, "a", (1, 16), 0), Episode("b", 1, "b", (31,), 17)]
    drawn = {"ours": features([2, 2], seed=1), "sd": features([0, 1], seed=2)}
    titles = [f"item {k}" for k in range(len(groups))]
    return embedding_map(features(groups), drawn, episodes, lambda k: square(groups[k]), titles, "pixels")


def nearest(made, place):
    """Groups of the ten items that are nearest to a place."""
    return np.argsort(((made.items - place) ** 2).sum(1))[:10] // EACH


def test_what_looks_alike_lies_together_with_what_was_drawn_among_it(made):
    assert made.items.min() >= 0
    assert made.items.max() <= 1
    for item, place in enumerate(made.items):
        assert (nearest(made, place) == item // EACH).all()
    for name, groups in {"ours": (2, 2), "sd": (0, 1)}.items():
        for place, group in zip(made.drawn[name], groups, strict=True):
            assert (nearest(made, place) == group).all()
    assert (made.references, made.histories) == ([0, 17], [[1, 16], [31]])


def test_the_same_features_lie_at_the_same_places_and_few_lie_anywhere(apart, monkeypatch):
    x = features(np.repeat(np.arange(GROUPS), 5))
    placed = places(x)
    monkeypatch.setenv("RECSIM_CACHE", str(apart / "another"))
    assert np.array_equal(places(x), placed)
    for n in range(5):
        assert np.isfinite(places(x[:n])).all()
    assert np.isfinite(places(np.ones((6, WIDTH), np.float32))).all()


def test_a_map_is_made_once(apart, monkeypatch):
    x = features(np.repeat(np.arange(GROUPS), 5))
    placed = places(x)
    monkeypatch.setattr(module, "_t_sne", lambda x: pytest.fail("laid out again"))
    assert np.array_equal(places(x), placed)
    with pytest.raises(pytest.fail.Exception):
        places(x + 1)


def test_of_a_large_catalogue_a_share_is_shown_with_what_people_have_to_do_with(monkeypatch):
    monkeypatch.setattr(module, "MOST", 20)
    groups = np.repeat(np.arange(GROUPS), EACH)
    episodes = [Episode("a", 0, "a", (1, 16, 40), 59)]
    titles = [str(k) for k in range(60)]
    made = embedding_map(features(groups), {}, episodes, lambda _: None, titles, "pixels")
    assert len(made.items) == len(made.titles) == 20
    assert [made.titles[k] for k in made.histories[0]] == ["1", "16", "40"]
    assert made.titles[made.references[0]] == "59"


@pytest.mark.browser
class TestOnThePage:
    """In a real browser."""

    @pytest.fixture
    def browser(self, made, tmp_path):
        people = [
            Person(name, name, name, "", "", square(0), [Chosen(square(1), "x")], pictures)
            for name in ("ann", "bob")
            for pictures in [[Drawn("ours", square(2)), Drawn("sd", square(3))]]
        ]
        opened = Browser(tmp_path)
        opened.resize(1000, 700)
        opened.open(gallery(people, tmp_path / "gallery.html", title="t", around=made))
        yield opened
        opened.close()

    def point(self, browser, points: str, event: str) -> None:
        browser.js(f"{points}.dispatchEvent(new PointerEvent({event!r}, {{bubbles: true}}))")

    def test_pointing_shows_the_picture(self, browser):
        assert browser.js("items.length") == 60
        assert browser.js("getComputedStyle(tip).display") == "none"
        self.point(browser, "items[52]", "pointerover")
        assert browser.js("tip.textContent") == "item 52"
        across, down = browser.js("tip.firstChild.style.backgroundPosition").split()
        assert (float(across[:-1]), down) == (pytest.approx(100 * 2 / (ACROSS - 1), abs=0.01), "100%")
        size = f"{100 * ACROSS}% 200%"  # two rows of tiles
        assert browser.js("tip.firstChild.style.backgroundSize") == size
        self.point(browser, "drawn[1][1]", "pointerover")
        assert browser.js("tip.textContent") == "sd for bob"
        own = "document.querySelectorAll('article')[1].querySelectorAll('.after')[1].src"
        assert browser.js(f"tip.firstChild.style.backgroundImage.includes({own})")
        box = browser.js("(b => [b.left, b.right])(tip.getBoundingClientRect())")
        assert 0 <= box[0] < box[1] <= 1000

    def test_a_click_goes_to_the_person_and_shows_history_and_item(self, browser):
        self.point(browser, "drawn[0][1]", "click")
        assert browser.js("by('who').value") == "1"
        assert browser.js("items.map((p, k) => p.matches('.mine') ? k : -1).filter(k => k >= 0)") == [31]
        assert browser.js("items.findIndex(p => p.matches('.asked'))") == 17
        assert browser.js("drawn.map(p => p.findIndex(q => q.matches('.chosen')))") == [1, 1]
        browser.wait("cards[1].getBoundingClientRect().top < innerHeight")
        browser.js("(w => { w.value = ''; w.dispatchEvent(new Event('change')) })(by('who'))")
        assert browser.js("field.querySelectorAll('.mine, .asked, .chosen').length") == 0

    @pytest.mark.parametrize("width", [1400, 400])
    def test_it_fits(self, browser, width):
        browser.resize(width, 800)
        assert browser.js("document.documentElement.scrollWidth") <= width
        assert browser.js("document.querySelector('.field svg').getBoundingClientRect().height") > 150


def test_a_tile_is_where_the_page_looks_for_it(made):
    import base64
    import io

    sheet = Image.open(io.BytesIO(base64.b64decode(made.tiles.partition(",")[2])))
    assert sheet.size == (ACROSS * TILE, made.rows * TILE)
    middle = sheet.getpixel((52 % ACROSS * TILE + TILE // 2, 52 // ACROSS * TILE + TILE // 2))
    assert np.abs(np.array(middle) - COLOURS[3]).max() < 25  # item 52 is of group 3
