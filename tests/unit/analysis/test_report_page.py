"""The page says what MLflow holds, and only that: whole, safe, and without anything from elsewhere."""

from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser

import pytest
from browser import Browser
from PIL import Image

from analysis.page import _number
from recsim_gen import report
from recsim_gen.core.config import run
from recsim_gen.core.results import Results
from recsim_gen.core.tracked import latest_runs, read_run
from recsim_gen.core.tracking import Tracker, open_client

HOSTILE = "</td><script>alert('x')</script>"


class Page(HTMLParser):
    """Tags with their attributes, and the text of all cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data.strip())


def track(root, command: str, value: float, *, config=None, files=(), fail: bool = False) -> str:
    results = Results(command, config or {"k": 5}, {"data": "ab" * 16})
    for variant, shift in (("ret", 0.0), ("full", 0.25)):
        low, high = value + shift - 0.01, value + shift + 0.02
        results.row(variant=variant, metric="recall@10", value=value + shift, low=low, high=high, n=7)
        results.row(variant=variant, metric="recall@10", value=value + shift, seed=3)
    results.row(variant="ret", metric="recall@10_minus_full", value=-0.25, p_holm=0.0375)
    results.verdict("assumption 2", f"holds: {HOSTILE}")
    results.note(f"a note & {HOSTILE}")
    tracker = Tracker(command, results.config, output=root / "x", uri=f"sqlite:///{root}/mlflow.db")
    try:
        with tracker:
            tracker.publish(results, [results.write(root / command), *files])
            for file in files:
                tracker.child("ret").log_file(file, "sheets")
            if fail:
                raise ValueError
    except ValueError:
        pass
    return tracker.run.id


@pytest.fixture(scope="module")
def store(tmp_path_factory, empty_store):
    """Three invocations of validate_assumptions (one failed, last) and one of a command we do not know."""
    root = tmp_path_factory.mktemp("report")
    shutil.copy(empty_store, root / "mlflow.db")
    Image.new("RGB", (8, 8), "red").save(root / "bars.png")
    (root / "bars.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (root / "table.md").write_text(f"| a |{HOSTILE}")
    ids = {"old": track(root, "validate_assumptions", 0.125)}
    secret = {"tracking_uri": "postgresql://me:hunter2@db/x", "k": 5}
    files = [root / name for name in ("bars.png", "bars.svg", "table.md")]
    ids["new"] = track(root, "validate_assumptions", 0.5, config=secret, files=files)
    ids["failed"] = track(root, "validate_assumptions", 0.75, fail=True)
    ids["own"] = track(root, "zzz", 0.0625)
    return root, ids


@pytest.fixture(scope="module")
def page(store):
    root, _ = store
    (root / "p.html").write_text("the page of another day, which is written anew")
    assert run(report.main, [f"--tracking-uri=sqlite:///{root}/mlflow.db", f"--output={root}/p.html"]) == 0
    return (root / "p.html").read_text(encoding="utf-8")


def test_the_latest_finished_run_of_each_command_is_shown(store, page):
    _, ids = store
    sections = [attrs["id"] for tag, attrs in Page(page).tags if tag == "section"]
    assert sections == [ids["new"], ids["own"]]


def test_numbers_verdicts_settings_and_origin_are_there(page):
    words = Page(page).words
    for word in (
        "0.5000",
        "0.4900 … 0.5200",
        "0.7500",
        "−0.2500",
        "0.0375",
        "assumption 2",
        "ab" * 16,
        "--k",
    ):
        assert word in words
    assert "Test the paper's assumptions" in page.replace("&#39;", "'")
    assert page.count("0.1250") == 0  # the older run


@pytest.mark.parametrize(
    ("number", "shown"),
    [(2.6e-18, "0"), (-0.0, "0"), (-3e-5, "−3.0e−05"), (0.0285, "0.0285"), (1.0, "1.000")],
)
def test_a_number_is_shown_as_one_and_rounding_as_none(number, shown):
    assert _number(number) == shown


def test_the_page_stands_alone_and_is_safe(page):
    tags = Page(page).tags
    assert "script" not in {tag for tag, _ in tags}
    assert not [a for _, a in tags if any(name.startswith("on") for name in a)]
    addresses = [a.get("src") or a.get("href") or "" for _, a in tags if "src" in a or "href" in a]
    assert addresses
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert not re.search(r"url\(|@import", page)
    assert page.count("&lt;script&gt;") >= 3  # verdict, note and text say what they say
    assert "hunter2" not in page
    assert "postgresql://me:***@db/x" in page


def test_a_figure_stands_once_and_so_do_sheets_of_variants(page):
    images = [attrs for tag, attrs in Page(page).tags if tag == "img"]
    assert [i["alt"].partition(",")[0] for i in images] == ["bars", "ret/sheets/bars"]
    assert all(i["src"].startswith("data:image/svg+xml;base64,") for i in images)


def test_runs_are_chosen_by_id(store, tmp_path, capsys):
    root, ids = store
    uri = f"--tracking-uri=sqlite:///{root}/mlflow.db"
    assert run(report.main, [uri, "--runs", ids["old"], f"--output={tmp_path}/p.html", "--quiet"]) == 0
    assert capsys.readouterr().out == f"page  {tmp_path}/p.html\n"
    assert "0.1250" in Page((tmp_path / "p.html").read_text()).words


def test_what_cannot_be_shown_is_told(store, tmp_path, capsys):
    root, ids = store
    uri = f"--tracking-uri=sqlite:///{root}/mlflow.db"
    client = open_client(f"sqlite:///{root}/mlflow.db")
    experiment = client.get_run(ids["old"]).info.experiment_id
    child = client.search_runs([experiment], f"tags.mlflow.parentRunId = '{ids['old']}'")[0].info.run_id
    bare = client.create_run(experiment, tags={"mlflow.source.name": "recsim_gen.judge"}).info.run_id
    output = f"--output={tmp_path}/p.html"
    for argv, words in (
        ([uri, "--runs", "0" * 32], ["no run '000"]),
        ([uri, "--runs", child], [child, f"it is a variant of {ids['old']}"]),
        ([uri, "--runs", bare], [bare, "no results.json", "Run the command again"]),
        ([], ["a store of runs is wanted", "mlflow.db", "--tracking-uri"]),
        (["--tracking-uri=http://127.0.0.1:9"], ["http://127.0.0.1:9 cannot be read", "is the server up"]),
    ):
        assert run(report.main, [*argv, output]) == 2
        said = capsys.readouterr().err
        for word in words:
            assert word in said
    assert list(tmp_path.iterdir()) == []


def test_others_runs_in_the_same_store_are_left_alone(store, tmp_path):
    root, ids = store
    client = open_client(f"sqlite:///{root}/mlflow.db")
    other = client.create_run(client.create_experiment("others")).info.run_id
    client.set_terminated(other)
    assert latest_runs(client) == [ids["new"], ids["own"]]
    found = read_run(client, ids["new"], tmp_path)
    assert found.results.verdicts == {"assumption 2": f"holds: {HOSTILE}"}
    assert found.others == ("rows.json",)


class TestCurves:
    """Losses, validation metrics and rewards by step of every training of a run."""

    @pytest.fixture(scope="class")
    def page(self, tmp_path_factory, empty_store):
        """Two seeds of a ranker, a generator of two parts, and a number that has no curve."""
        root = tmp_path_factory.mktemp("curves")
        shutil.copy(empty_store, root / "mlflow.db")
        results = Results("train_ranker", {"k": 5}, {})
        results.row(variant="micro", metric="recall@10", value=0.5)
        results.note("pictures listed in /cache/" + 100 * "0")  # wider than a phone
        uri = f"sqlite:///{root}/mlflow.db"
        with Tracker("train_ranker", results.config, output=root / "x", uri=uri) as tracker:
            for seed in (0, 1):
                for epoch in range(1, 501):
                    numbers = {"loss": 1 / epoch, "valid_recall@20": float("nan") if epoch == 7 else seed}
                    tracker.child("micro").log_epoch(epoch, numbers, prefix=f"seed_{seed}/")
            tracker.child("ragar").log_epoch(100, {"reward": -0.25}, prefix="seed_0/warm-start/")
            tracker.child("ragar").log_epoch(200, {"reward": 0.75}, prefix="seed_0/policy/")
            tracker.publish(results, [results.write(root / "x")])
        assert run(report.main, [f"--tracking-uri={uri}", f"--output={root}/p.html"]) == 0
        return root / "p.html"

    def test_every_metric_is_a_panel_and_every_seed_a_line(self, page):
        text = page.read_text(encoding="utf-8")
        drawn = Page(text)
        titles = re.findall(r"<figcaption><b>(.*?)</b><span>(.*?)</span>", text)
        assert titles == [
            ("loss", "0.002"),
            ("valid recall@20", "0.5"),
            ("policy reward", "0.75"),
            ("warm-start reward", "−0.25"),
        ]
        lines = [attributes["points"].split() for tag, attributes in drawn.tags if tag == "polyline"]
        assert [len(line) for line in lines[:2]] == [168, 168]  # of 500 every third, and the last
        assert [line[0] for line in lines[:2]] == ["0.0,0.0"] * 2  # the highest loss, at the first step
        assert [line[-1] for line in lines[:2]] == ["100.0,100.0"] * 2
        assert {line[0] for line in lines[2:4]} == {"0.0,100.0", "0.0,0.0"}
        assert len(lines) == 6
        assert "1 to 500" in text
        assert "recall@10</b>" not in text  # a result is no curve

    @pytest.mark.browser
    @pytest.mark.parametrize("width", [1400, 400])
    def test_it_fits_a_screen_and_a_phone(self, page, width, tmp_path):
        browser = Browser(tmp_path)
        browser.resize(width, 900)
        browser.open(page)
        assert browser.js("document.documentElement.scrollWidth") <= width
        boxes = "[...document.querySelectorAll('.plot svg')].map(e => e.getBoundingClientRect())"
        assert browser.js(f"{boxes}.every(b => b.width > 80 && b.height > 60 && b.right <= {width})")
        assert browser.js("document.querySelector('.curves').closest('details').open")
        browser.close()
