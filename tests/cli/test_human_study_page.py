"""The page of a human study in a real browser: raters who know what they want are read back."""

from __future__ import annotations

import json

import brought
import pytest
from browser import Browser

from recsim_gen import human_study
from recsim_gen.core import results as results_of
from recsim_gen.core.config import run
from recsim_gen.metrics.human_study.answers import read_answers, read_key

METHODS = ("best", "good", "fair", "poor")  # what every simulated rater prefers, in this order
QUESTIONS = ("u1/a", "u2/b", "u3/c")
COMMAND = {"export": human_study.export, "score": human_study.score}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    here = tmp_path_factory.mktemp("study")
    names = [f"{m}/{q}.png" for m in METHODS for q in QUESTIONS]
    names += [f"history/{q}/{k}.png" for q in QUESTIONS for k in range(7)]
    brought.folder(here / "images", names)
    title = "</script><b>Which & who?"
    argv = ["export", str(here / "images"), "--output", str(here / "study.html"), "--side", "64"]
    assert run(COMMAND, [*argv, "--title", title, "--quiet"]) == 0
    return here


@pytest.fixture(scope="module")
def browser(folder):
    opened = Browser(folder)
    yield opened
    opened.close()


def start(browser, folder, rater):
    browser.open(folder / "study.html")
    browser.click("#rater")
    browser.send("Input.insertText", text=rater)
    browser.click("#who button")
    browser.wait("!document.querySelector('#ask').hidden")


def order(browser):
    return browser.js("[...document.querySelectorAll('#cards li')].map(c => c.dataset.code)")


def wanted(browser, folder):
    """The codes of the question that is shown, best first, as only the key can tell."""
    key = read_key(folder / "study.key.json")
    shown = set(order(browser))
    (codes,) = (c for c in key.codes.values() if set(c) == shown)
    return sorted(codes, key=lambda code: METHODS.index(codes[code]))


def sort_by_dragging(browser, codes):
    for place, code in enumerate(codes, start=1):
        start_at = browser.middle(f'#cards li[data-code="{code}"]')
        end_at = browser.middle(f"#cards li:nth-child({place})")
        browser.drag(start_at, end_at)
        assert order(browser)[:place] == codes[:place]


def sort_by_keys(browser, codes):
    for place, code in enumerate(codes, start=1):
        browser.js(f"""document.querySelector('#cards li[data-code="{code}"]').focus()""")
        if place % 2:
            browser.key(str(place), str(place))
        else:
            browser.key("End")
            for _ in range(len(codes) - place):
                browser.key("ArrowLeft")
        said = browser.js("document.querySelector('#live').textContent")
        assert said.endswith(f"place {place} of 4")
        assert browser.js("document.activeElement.dataset.code") == code


def test_raters_sort_and_are_read_back(browser, folder, tmp_path, monkeypatch):
    files = []
    for rater, sort in (("Ann Ö", sort_by_dragging), ("bob", sort_by_keys)):
        start(browser, folder, rater)
        for _ in QUESTIONS:
            assert browser.js("document.querySelectorAll('#history img').length") == 5
            codes = wanted(browser, folder)
            sort(browser, codes)
            assert order(browser) == codes
            browser.click("#next")
        browser.wait("!document.querySelector('#end').hidden")
        files.append(browser.downloaded(f"answers-{rater.replace(' ', '_')}.json"))
        assert json.loads(files[-1].read_text()) == json.loads(
            browser.js("document.querySelector('#text').value")
        )
    table = read_answers(files, read_key(folder / "study.key.json"))
    assert len(table) == 2 * 3 * 4
    assert set(table["rater"]) == {"Ann Ö", "bob"}
    assert set(table["question"]) == set(QUESTIONS)
    assert table.groupby("method")["rank"].agg(["min", "max"]).to_dict("index") == {
        m: {"min": k, "max": k} for k, m in enumerate(METHODS, start=1)
    }
    monkeypatch.chdir(tmp_path)
    key = ["--key", str(folder / "study.key.json")]
    assert run(COMMAND, ["score", *map(str, files), *key, "--output", "out", "--quiet"]) == 0
    found = results_of.load(tmp_path / "out")
    ranks = {row["variant"]: row["value"] for row in found.rows if row["metric"] == "mean_rank"}
    assert ranks == {"best": 1, "good": 2, "fair": 3, "poor": 4}
    assert found.verdicts["raters"].startswith("agree: Kendall's W = 1.00")


def test_the_page_is_blind_and_loads_nothing(browser, folder):
    page = (folder / "study.html").read_text()
    for word in (*METHODS, *QUESTIONS):
        assert f'"{word}"' not in page
        assert f"/{word}" not in page
    browser.open(folder / "study.html")
    assert browser.js("document.title") == "</script><b>Which & who?"
    assert (
        browser.js("performance.getEntriesByType('resource').filter(r => !r.name.startsWith('data:')).length")
        == 0
    )


def test_orders_differ_between_raters_and_stay_for_one(browser, folder):
    seen = []
    for rater in ("c", "d", "e", "c"):
        start(browser, folder, rater)
        seen.append(order(browser))
    assert seen[0] == seen[3]
    assert len({tuple(s) for s in seen}) > 1


def test_an_order_nobody_touched_is_asked_about_and_work_is_kept(browser, folder):
    start(browser, folder, "lazy")
    shown = order(browser)
    browser.click("#next")
    assert "You have not moved any image" in browser.js("document.querySelector('#warning').textContent")
    assert order(browser) == shown
    browser.click("#next")
    browser.wait("document.querySelector('#count').textContent === '2 of 3'")
    start(browser, folder, "lazy")  # the page was loaded again
    assert browser.js("document.querySelector('#count').textContent") == "2 of 3"
    browser.click("#back")
    assert order(browser) == shown
    browser.click("#early")
    partial = json.loads(browser.downloaded("answers-lazy.json").read_text())
    assert [a["order"] == a["shown"] == shown for a in partial["answers"]] == [True]
