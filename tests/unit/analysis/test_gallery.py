"""The page of people in a real browser: found by words and category, sorted, before and after."""

from __future__ import annotations

import re

import pytest
from browser import Browser
from PIL import Image

from analysis.gallery import LARGEST, Chosen, Drawn, Person, gallery

RED, BLUE, GREEN = (200, 30, 30), (30, 30, 200), (30, 160, 60)


def square(colour, size=16):
    return Image.new("RGB", (size, size), colour)


def person(name, category, before, after, liking=None, drawn_liking=None, words="a red hat"):
    pictures = [
        Drawn("ours", square(GREEN), words, {"micro-seed0": (before, after)}, drawn_liking),
        Drawn("sd", square(BLUE), "", {"micro-seed0": (before, before)}, liking),
    ]
    history = [Chosen(square(RED), "a hat", retrieved=True), Chosen(None, "a lamp")]
    return Person(
        name, f"i{name}", f"hat of {name}", "a hat", category, square(RED), history, pictures, liking
    )


@pytest.fixture
def people():
    return [
        person("ann", "hat", 100, 90, 1.0, 0.4),
        person("bob <b>", "hat", 100, 10, 2.0, 3.5, words='stripes & "dots"'),
        person("cy", "lamp", 10, 90, 0.0, 0.04),
    ]


@pytest.fixture
def browser(tmp_path):
    opened = Browser(tmp_path)
    yield opened
    opened.close()


def shown(browser):
    cards = "[...document.querySelectorAll('article')].filter(a => !a.hidden)"
    return browser.js(f"{cards}.map(a => a.querySelector('h2').textContent)")


def choose(browser, name, value, event="change"):
    browser.js(
        f"(() => {{ const e = document.getElementById({name!r}); e.value = {value!r}; "
        f"e.dispatchEvent(new Event({event!r})); }})()"
    )


def test_people_are_found_and_sorted(browser, people, tmp_path):
    browser.open(gallery(people, tmp_path / "gallery.html", title="Who </script> & what"))
    assert browser.js("document.title") == "Who </script> & what"
    assert shown(browser) == ["ann", "bob <b>", "cy"]
    browser.click("#search")
    browser.send("Input.insertText", text="DOTS hat")
    assert shown(browser) == ["bob <b>"]
    assert browser.js("document.getElementById('count').textContent") == "1 of 3"
    choose(browser, "search", "", "input")
    choose(browser, "category", "lamp")
    assert shown(browser) == ["cy"]
    choose(browser, "category", "")
    choose(browser, "order", "ours|micro-seed0")
    assert shown(browser) == ["bob <b>", "ann", "cy"]  # ΔR 90/101, 10/101, −80/11
    choose(browser, "order", "ours|")
    assert shown(browser) == ["bob <b>", "cy", "ann"]  # liking +1.5, +0.04, −0.6
    choose(browser, "order", "")
    assert shown(browser) == ["ann", "bob <b>", "cy"]


def test_before_and_after_are_one_slider(browser, people, tmp_path):
    browser.open(gallery(people, tmp_path / "gallery.html", title="t"))
    cut = "getComputedStyle(document.querySelector('.after')).clipPath"
    assert browser.js(cut) in ("inset(0px)", "inset(0px 0px 0px 0%)", "inset(0px 0px 0px calc(0%))")
    choose(browser, "after", "0.25", "input")
    assert "75%" in browser.js(cut)
    words = "getComputedStyle(document.querySelector('.words')).display"
    assert browser.js(words) == "none"
    browser.click("#told")
    assert browser.js(words) == "block"


@pytest.mark.parametrize("width", [1400, 400])
def test_nothing_is_wider_than_the_window_or_loaded_from_elsewhere(browser, people, tmp_path, width):
    page = gallery(people, tmp_path / "gallery.html", title="t")
    browser.resize(width, 800)
    browser.open(page)
    assert browser.js("document.documentElement.scrollWidth") <= width
    assert browser.js("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    assert not re.search(r'(src|href)="(?!data:)', page.read_text())


def test_what_is_said_below_a_picture(people, tmp_path):
    text = gallery(people, tmp_path / "gallery.html", title="t").read_text()
    assert '<span class="good">micro 100 → 10</span>' in text
    assert '<span class="bad">micro 10 → 90</span>' in text
    assert '<span class="same">micro 100 → 100</span>' in text
    assert '<span class="good">true liking +3.5 (+1.5)</span>' in text
    assert '<span class="bad">true liking +0.4 (−0.6)</span>' in text
    assert "true liking 0.0 (0.0)</span>" in text
    assert 'title="stripes &amp; &#34;dots&#34;"' in text


def test_seeds_of_one_judge_keep_their_numbers(tmp_path):
    ranks = {"micro-seed0": (5, 3), "micro-seed1": (5, 4)}
    two = Person("ann", "i", "", "", "", None, [], [Drawn("sd", square(BLUE), "", ranks)])
    text = gallery([two], tmp_path / "gallery.html", title="t").read_text()
    assert "micro-seed0 5 → 3</span>" in text
    assert "micro-seed1 5 → 4</span>" in text


def test_without_known_tastes_nothing_is_said_of_them(tmp_path):
    text = gallery([person("ann", "hat", 5, 3)], tmp_path / "gallery.html", title="t").read_text()
    assert "liking" not in text


def test_large_pictures_are_made_smaller(tmp_path):
    large = Person("ann", "i", "", "", "", square(RED, 1024), [], [Drawn("sd", square(BLUE, 1024))])
    page = gallery([large], tmp_path / "gallery.html", title="t")
    assert page.stat().st_size < 40_000
    assert "data:image/jpeg" in page.read_text()
    assert LARGEST == 256
