"""Human study: statistics against references and known raters, answers read back, what is refused."""

import base64
import io
import json
import re
from itertools import product

import brought
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.stats import kendalltau, rankdata, wilcoxon

from recsim_gen import human_study
from recsim_gen.core import results as results_of
from recsim_gen.core.config import run
from recsim_gen.core.errors import DataError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.results import Results
from recsim_gen.metrics.human_study import scores
from recsim_gen.metrics.human_study.answers import read_answers, read_key
from recsim_gen.metrics.human_study.page import FORMAT, make_study, read_questions

COMMAND = {"export": human_study.export, "score": human_study.score}
METHODS = ("a", "b", "c")


def answered(raters, questions, worth, noise, *, seed=0, shown=None):
    """Answers of people who order methods by worth plus noise."""
    rng = np.random.default_rng(seed)
    rows = []
    for r in range(raters):
        for q in range(questions):
            seen = np.asarray(worth) + noise * rng.gumbel(size=len(worth))
            ranks = (-seen).argsort().argsort() + 1
            places = ranks if shown == "lazy" else rng.permutation(len(worth)) + 1
            for k, method in enumerate("abcdefgh"[: len(worth)]):
                rows.append((f"r{r}", f"q{q}", method, int(ranks[k]), int(places[k]), 5.0))
    return pd.DataFrame(rows, columns=["rater", "question", "method", "rank", "shown", "seconds"])


def test_kendalls_w_by_its_definition():
    perfect = scores.kendalls_w(answered(5, 3, [2, 1, 0], 0))
    assert (perfect["w"] == 1).all()
    # Two raters: W = (1 + ρ) / 2, ρ Spearman's correlation of their ranks.
    noisy = answered(2, 30, [1, 0.5, 0, 0], 1.0)
    table = scores.kendalls_w(noisy)
    for question, part in noisy.groupby("question"):
        one, two = (x["rank"].to_numpy() for _, x in part.groupby("rater"))
        assert table.loc[question, "w"] == pytest.approx((1 + np.corrcoef(one, two)[0, 1]) / 2)
    random = scores.kendalls_w(answered(6, 400, [0, 0, 0], 1.0))["w"]
    assert abs(random.mean() - 1 / 6) < 4 * random.std() / 20
    assert scores.kendalls_w(answered(1, 3, [1, 0], 0)).empty


def test_signed_rank_p_agrees_with_scipy_and_knows_ties():
    d = np.random.default_rng(0).normal(0.4, 1, 14)
    assert scores.signed_rank_p(d) == pytest.approx(wilcoxon(d, method="exact").pvalue)
    assert scores.signed_rank_p(np.arange(1.0, 6)) == pytest.approx(2 / 2**5)
    assert scores.signed_rank_p(np.zeros(8)) == 1
    tied = np.array([0.5, 0.5, 0.5, -0.5, 1.0, 0.0, 1.0, 0.5])
    ranks = rankdata(np.abs(tied))[tied != 0]
    sums = np.array([ranks @ signs for signs in product((0, 1), repeat=len(ranks))])
    found = ranks[tied[tied != 0] > 0].sum()
    expected = 2 * min((sums <= found).mean(), (sums >= found).mean())
    assert scores.signed_rank_p(tied) == pytest.approx(expected)
    assert scores.signed_rank_p(tied + 1e-15 * np.arange(8)) == pytest.approx(expected)
    many = np.random.default_rng(0).integers(-3, 5, 60).astype(float)
    approximate = wilcoxon(many, zero_method="pratt", correction=True, method="approx").pvalue
    assert scores.signed_rank_p(many) == pytest.approx(approximate)
    assert scores.signed_rank_p(many[:50]) == pytest.approx(
        wilcoxon(many[:50], zero_method="pratt", correction=True, method="approx").pvalue, rel=0.1
    )


def test_people_of_one_mind_are_understood():
    answers, results = answered(10, 6, [3, 1.5, 0], 0.5), Results("human_study", {})
    ranks = scores.preferences(answers, "rater", results, Rng(0))
    assert ranks.shape == (10, 3)
    scores.friedman(ranks, "rater", results)
    scores.pairs(ranks, "rater", results, Rng(0))
    scores.raters_agree(answers, results, Rng(0))
    scores.position_bias(answers, results, Rng(0))
    value = {(row["variant"], row["metric"]): row for row in results.rows}
    expected = answers.groupby("method")["rank"].mean()
    for method in METHODS:
        row = value[method, "mean_rank"]
        assert row["value"] == pytest.approx(expected[method])
        assert row["low"] <= row["value"] <= row["high"]
    assert results.verdicts["methods"].startswith("differ: Friedman's χ²(2)")
    assert results.verdicts["a or c"].startswith("a is preferred")
    assert value["a before c", "rank_difference"]["p_holm"] >= value["a before c", "rank_difference"]["p"]
    assert results.verdicts["raters"].startswith("agree")
    assert results.verdicts["position"].startswith("no sign of bias")


def test_people_without_a_preference_are_rarely_given_one():
    """Over many studies in which nothing differs, some pair is called different as rarely as promised."""
    wrong = 0
    for seed in range(300):
        ranks = np.random.default_rng(seed).random((12, 4, 3)).argsort(2).argsort(2).mean(1)
        p = [scores.signed_rank_p(ranks[:, a] - ranks[:, b]) for a, b in ((0, 1), (0, 2), (1, 2))]
        wrong += 3 * min(p) < 0.05  # Holm's first step, on which all others wait
    assert wrong <= 28  # 5% of 300 is 15; 29 or more by chance: 1 in 1,000


def test_who_confirms_the_order_as_it_comes_is_found():
    answers, results = answered(4, 5, [0, 0, 0], 1, shown="lazy"), Results("human_study", {})
    scores.position_bias(answers, results, Rng(0))
    assert results.verdicts["position"].startswith("biased towards the order shown: ρ = 1.00")
    assert "r0, r1, r2, r3 left every order as it came" in results.verdicts["position"]


def test_few_raters_are_told_that_nothing_can_come_out():
    results = Results("human_study", {})
    ranks = scores.preferences(answered(3, 8, [3, 1, 0], 0.1), "rater", results, Rng(0))
    scores.pairs(ranks, "rater", results, Rng(0))
    assert "with 3 raters and 3 comparisons no difference can become significant" in results.notes[0]
    assert all(text.startswith("undecided") for text in results.verdicts.values())
    by_question = scores.preferences(
        answered(3, 8, [3, 1, 0], 0.1), "question", Results("human_study", {}), Rng(0)
    )
    scores.pairs(by_question, "question", results := Results("human_study", {}), Rng(0))
    assert results.verdicts["a or c"].startswith("a is preferred")
    assert not results.notes


def test_metrics_that_see_what_people_see(tmp_path):
    answers = answered(6, 20, [2, 1, 0], 0.8)
    people = scores.per_image(answers)
    rng = np.random.default_rng(0)
    table = people[["question", "method"]].assign(
        same=-people["mean_rank"], against=people["mean_rank"], noise=rng.random(len(people)), flat=1.0
    )
    table.to_csv(tmp_path / "m.csv", index=False)
    results = Results("human_study", {})
    scores.metrics_agree(answers, scores.read_metrics(tmp_path / "m.csv"), results, Rng(0))
    value = {(row["variant"], row["metric"]): row for row in results.rows}
    for metric in ("kendall", "spearman"):
        assert value["same", metric]["value"] == pytest.approx(1)
        assert value["against", metric]["value"] == pytest.approx(-1)
        assert value["noise", metric]["low"] < 0 < value["noise", metric]["high"]
        assert 0.2 < value["a rater with the others", metric]["value"] < 1
    by_hand = [
        kendalltau(-p["mean_rank"], p["noise"]).statistic
        for _, p in people.merge(table, on=["question", "method"], suffixes=("", "_")).groupby("question")
        if p["mean_rank"].nunique() > 1
    ]
    assert value["noise", "kendall"]["value"] == pytest.approx(np.mean(by_hand))
    assert "flat: the same for all images of each question, no correlation" in results.notes
    (tmp_path / "n.csv").write_text("episode,generator,lpips\nq0,a,0.5\nq0,a,0.6\n")
    with pytest.raises(DataError, match=r"n\.csv, row 3: \(episode, generator\) = \('q0', 'a'\) stands"):
        scores.read_metrics(tmp_path / "n.csv")
    (tmp_path / "n.csv").write_text("question,lpips\nq0,0.5\n")
    with pytest.raises(DataError, match="the columns must be question, method and one per metric"):
        scores.read_metrics(tmp_path / "n.csv")
    (tmp_path / "n.csv").write_text("question,method,lpips\nzz,a,0.5\n")
    with pytest.raises(DataError, match=r"got none: \['zz', 'a'\] is one, \['q0', 'a'\] is in the study"):
        scores.metrics_agree(answers, scores.read_metrics(tmp_path / "n.csv"), results, Rng(0))


@pytest.fixture
def images(tmp_path):
    names = [f"{m}/u{q}/i{q}.png" for m in METHODS for q in range(4)]
    names += [f"history/u{q}/i{q}/{k}.png" for q in range(4) for k in (1, 2, 10)]
    return brought.folder(tmp_path / "images", names)


def test_questions_come_from_folders(images):
    questions, notes = read_questions(images, history=2)
    assert [q.id for q in questions] == ["u0/i0", "u1/i1", "u2/i2", "u3/i3"]
    assert notes == []
    last = [Image.open(images / f"history/u0/i0/{k}.png") for k in (2, 10)]
    assert [p().tobytes() for p in questions[0].history] == [i.tobytes() for i in last]
    (images / "b/u2/i2.png").unlink()
    brought.folder(images, ["a/u9/i9.png", "b/u9/i9.png", "c/u9/i9.png"])
    fewer, notes = read_questions(images)
    assert [q.id for q in fewer] == ["u0/i0", "u1/i1", "u3/i3"]
    assert notes == [
        "b has no image for 1 of 5 questions: left out",
        "1 questions without history left out, such as 'u9/i9'",
    ]


def test_histories_can_come_from_the_data(tmp_path):
    shop = brought.shop()
    episodes = shop.episodes[:3]
    ids = [f"{shop.interactions.user_ids[e.user]}/{shop.catalog.item_ids[e.reference]}" for e in episodes]
    brought.folder(tmp_path / "images", [f"{m}/{q}.png" for m in METHODS for q in ids])
    questions, _ = read_questions(tmp_path / "images", dataset=shop)
    assert sorted(q.id for q in questions) == sorted(ids)
    first = next(q for q in questions if q.id == ids[0])
    expected = [shop.catalog.images.read(row) for row in episodes[0].history[-5:]]
    assert [p().tobytes() for p in first.history] == [i.tobytes() for i in expected]


def test_pages_tell_nothing_by_their_pictures(images):
    """Another size, format and comment of an image leave no trace but its looks."""
    odd = Image.new("RGB", (640, 320), "red")
    odd.save(images / "a/u0/i0.png", dpi=(300, 300))
    (images / "a/u0/i0.png").rename(images / "a/u0/i0.PNG")
    how = {"title": "t", "intro": "i", "prompt": "p", "side": 48, "rng": Rng(0)}
    questions, _ = read_questions(images)
    study = make_study(questions, **how)
    uris = re.findall(r"data:image/jpeg;base64,([A-Za-z0-9+/=]+)", study.page)
    assert len(uris) == 4 * (3 + 3)
    shown = [Image.open(io.BytesIO(base64.b64decode(uri))) for uri in uris]
    assert {i.size for i in shown} == {(48, 48), (24, 24), (48, 24)}
    assert all(set(i.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"} for i in shown)
    assert len({str(i.info) for i in shown}) == 1
    assert make_study(questions, **how) == study
    for codes in (v["images"] for v in study.key["questions"].values()):
        assert sorted(codes.values()) == list(METHODS)


@pytest.fixture
def exported(images, tmp_path):
    page = tmp_path / "study.html"
    assert run(COMMAND, ["export", str(images), "--output", str(page), "--side", "32", "--quiet"]) == 0
    return read_key(tmp_path / "study.key.json")


def answer_file(path, key, rater="r", change=None):
    """A whole file of answers, a first, then b, then c; ``change`` edits it by hand."""
    answers = []
    for question, codes in key.codes.items():
        order = sorted(codes, key=codes.get)
        answers.append({"question": question, "shown": order[::-1], "order": order, "seconds": 3.5})
    document = {"format": FORMAT, "study": key.study, "rater": rater, "answers": answers}
    if change:
        change(document)
    path.write_text(json.dumps(document))
    return path


def test_answers_are_read_back(exported, tmp_path):
    files = [answer_file(tmp_path / f"{r}.json", exported, r) for r in ("ann", "bob")]
    answer_file(files[1], exported, "bob", lambda d: d["answers"].pop())
    table = read_answers(files, exported)
    assert len(table) == (4 + 3) * 3
    assert table.loc[table["method"] == "b", "rank"].unique().tolist() == [2]
    assert table.loc[table["method"] == "a", "shown"].unique().tolist() == [3]
    assert set(table["question"]) == {f"u{q}/i{q}" for q in range(4)}


def first(key, value):
    return lambda d: d["answers"][0].update({key: value})


EDITS = [
    (lambda d: d.update(format="mine"), "row top: format must be 'recsim-gen human study 1', got 'mine'"),
    (lambda d: d.update(study="0000"), "as in the key, got '0000'. Give the key of this study"),
    (lambda d: d.pop("rater"), "rater must be a name, got none"),
    (lambda d: d.update(answers="none"), "answers must be a list, got 'none'"),
    (lambda d: d.update(answers=[]), "answers are wanted, got none"),
    (first("question", "q999"), "a.json, row top, answers[0]: question 'q999' is not in the key"),
    (lambda d: d["answers"].append(d["answers"][0]), "answers[4]: question 'q001' is answered a second time"),
    (lambda d: d["answers"][0]["order"].pop(), "must hold each of the 3 images once, got 2 codes, 2 of them"),
    (lambda d: d["answers"][0]["order"].__setitem__(0, d["answers"][0]["order"][1]), "3 codes, 2 of them"),
    (lambda d: d["answers"][0]["order"].append("ffffffff"), "order holds 'ffffffff', no image of this"),
    (first("order", "a, b, c"), "order must be a list of image codes, got 'a, b, c'"),
    (first("order", [1, 2, 3]), "order must be a list of image codes, got list"),
    (first("shown", None), "shown must be a list of image codes, got None"),
    (first("seconds", "long"), "seconds must be a number, got 'long'"),
]  # fmt: skip


@pytest.mark.parametrize(("edit", "told"), EDITS, ids=[told for _, told in EDITS])
def test_answers_edited_by_hand_are_one_clear_error(exported, tmp_path, edit, told):
    file = answer_file(tmp_path / "a.json", exported, change=edit)
    with pytest.raises(DataError) as caught:
        read_answers([file], exported)
    assert told in str(caught.value)


def test_other_broken_files_are_told(exported, tmp_path, capsys):
    files = [answer_file(tmp_path / f"{n}.json", exported, "same") for n in range(2)]
    with pytest.raises(DataError, match=r"1\.json: one file per rater is wanted, .*0\.json is of 'same' too"):
        read_answers(files, exported)
    files[0].write_text(files[0].read_text()[:-20])
    with pytest.raises(DataError, match=r"0\.json, row 1: cannot be read as JSON"):
        read_answers(files, exported)
    (tmp_path / "study.key.json").write_text("{}")
    with pytest.raises(DataError, match="a key of format"):
        read_key(tmp_path / "study.key.json")
    assert run(COMMAND, ["score", str(files[1]), "--key", str(tmp_path / "none.json")]) == 2
    assert "the key of the study is missing" in capsys.readouterr().err
    assert run(COMMAND, ["score"]) == 2
    assert "give the files that raters downloaded" in capsys.readouterr().err


def test_bad_images_leave_no_page(images, tmp_path, capsys):
    page = tmp_path / "p" / "study.html"
    call = ["export", str(images), "--output", str(page)]
    for break_it, told in (
        (lambda: (images / "a/u0/i0.png").write_bytes(b"no"), "a picture is wanted"),
        (lambda: brought.folder(images, ["loose.png"]), "an image in the folder of its method is wanted"),
    ):
        break_it()
        assert run(COMMAND, call) == 2
        assert told in capsys.readouterr().err
        assert not page.parent.exists()
    assert (
        run(COMMAND, ["export", str(brought.folder(tmp_path / "one", ["a/1.png", "history/1/1.png"]))]) == 2
    )
    assert "images of 2 to 9 methods are wanted, got 1: a" in capsys.readouterr().err
    brought.folder(tmp_path / "none", ["a/1.png", "b/2.png", "history/1/1.png"])
    assert run(COMMAND, ["export", str(tmp_path / "none")]) == 2
    assert (
        "a question with a history and an image of each method is wanted, got none" in capsys.readouterr().err
    )


def test_score_prints_and_keeps_everything(exported, tmp_path, apart, capsys, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{apart / 'mlflow.db'}")
    files = [str(answer_file(tmp_path / f"{r}.json", exported, f"r{r}")) for r in range(6)]
    (apart / "m.csv").write_text(
        "question,method,delta_r\n"
        + "".join(f"u{q}/i{q},{m},{-k + 0.1 * q}\n" for q in range(4) for k, m in enumerate(METHODS))
    )
    call = ["score", *files, "--key", str(tmp_path / "study.key.json"), "--metrics", "m.csv"]
    assert run(COMMAND, [*call, "--output", "out"]) == 0
    out = capsys.readouterr().out
    assert "| a         | 1.00 [1.00, 1.00] | 1.00 [1.00, 1.00] | 24  |" in out
    assert "agreement: delta_r: kendall 1.00 [1.00, 1.00]" in out
    assert "position: no sign of bias towards the order shown: ρ = -1.00" in out
    assert "Note: 6 raters, 24 of 24 answers given" in out
    found = results_of.load(apart / "out")
    assert found.command == "human_study"
    assert {p.name for p in (apart / "out").iterdir()} == {
        "results.json",
        "config.yaml",
        "per_image.csv",
        "mean_rank.png",
        "mean_rank.svg",
    }
    assert len(pd.read_csv(apart / "out/per_image.csv")) == 12
