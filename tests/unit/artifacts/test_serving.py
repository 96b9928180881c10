"""A logged ranker answers for users by their ids, in a fresh process, with what was logged alone."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from brought import QUICK, shop
from PIL import Image
from servers import model_server

from rankers.popularity import Popularity
from recsim_gen.artifacts.serving import ServedRanker, log_ranker
from recsim_gen.artifacts.trained_rankers import make_ranker
from recsim_gen.core.errors import DataError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.specs import RankerSpec
from recsim_gen.core.tracking import Tracker, TrackingWarning
from recsim_gen.encoders.features import encode, make_encoder
from recsim_gen.metrics.evaluation import mask_of
from recsim_gen.testing import worlds

ASK = """
import json, sys
import mlflow, pandas as pd
model = mlflow.pyfunc.load_model(sys.argv[1])
users = pd.DataFrame({"user": json.loads(sys.argv[2])})
answers = [model.predict(users), model.predict(users, params={"k": 3})]
print(json.dumps([dict(zip(a["user"], map(list, a["items"]), strict=True)) for a in answers]))
print(sorted(m for m in ("torch", "rankers") if m in sys.modules))
"""


@pytest.fixture(scope="module")
def world():
    catalog, interactions = worlds.noise()
    return catalog, interactions, Popularity().fit(catalog, interactions, rng=Rng(0))


@pytest.fixture(scope="module")
def logged(world, empty_store, tmp_path_factory):
    """Address of a logged ranker, and the store it is in."""
    here = tmp_path_factory.mktemp("served")
    catalog, interactions, ranker = world
    shutil.copy(empty_store, here / "mlflow.db")
    uri = f"sqlite:///{here}/mlflow.db"
    with Tracker("train_ranker", {}, output=here / "x", uri=uri) as tracker:
        log_ranker(tracker.child("popularity"), ranker, catalog, interactions, name="ranker-seed0")
    assert not tracker.store.failed
    return f"runs:/{tracker.child('popularity').id}/ranker-seed0", uri


def test_a_fresh_process_gives_the_rankers_own_best_items_without_those_chosen(world, logged, tmp_path):
    catalog, interactions, ranker = world
    address, uri = logged
    asked = [2, 0, 29]
    environment = {**os.environ, "MLFLOW_TRACKING_URI": uri, "MLFLOW_DISABLE_TELEMETRY": "true"}
    command = [sys.executable, "-W", "ignore", "-c", ASK, address, json.dumps([f"u{u}" for u in asked])]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    ten, three = json.loads(done.stdout.splitlines()[0])
    assert done.stdout.splitlines()[1] == "[]"
    assert list(ten) == ["u2", "u0", "u29"]
    scores = ranker.score(np.array(asked)).numpy()
    seen = mask_of(np.array(asked), *interactions.only("train", "valid"), interactions.n_items)
    for user, own, mask in zip(ten, scores, seen, strict=True):
        rows = [catalog.row_of[item] for item in ten[user]]
        assert len(set(rows)) == 10
        assert not mask[rows].any()
        assert own[rows].tolist() == sorted(own[~mask].tolist(), reverse=True)[:10]
        assert three[user] == ten[user][:3]


def test_signature_input_example_and_checkpoint_are_kept(world, logged, monkeypatch):
    catalog, interactions, ranker = world
    monkeypatch.setenv("MLFLOW_TRACKING_URI", logged[1])
    folder = mlflow.artifacts.download_artifacts(logged[0], tracking_uri=logged[1])
    model = mlflow.models.Model.load(folder)
    assert model.signature.inputs.input_names() == ["user", "history", "item", "picture"]
    assert model.signature.inputs.required_input_names() == []
    assert model.signature.outputs.input_names() == ["user", "items", "item", "original_rank", "rank"]
    assert model.signature.params.to_dict()[0]["name"] == "k"
    users = model.load_input_example(folder)["user"]
    assert users.isna().tolist() == [False, True, False]
    assert users.dropna().tolist() == ["u0", "u0"]
    again = Popularity.load(f"{folder}/data/model/checkpoint", catalog, interactions)
    assert again.fingerprint == ranker.fingerprint


def test_models_logged_under_the_old_name_of_the_module_still_load(logged, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", logged[1])
    folder = Path(mlflow.artifacts.download_artifacts(logged[0], tracking_uri=logged[1], dst_path=tmp_path))
    about = folder / "MLmodel"
    text = about.read_text()
    assert "recsim_gen.artifacts.serving" in text
    about.write_text(text.replace("recsim_gen.artifacts.serving", "recsim_gen.simulation.serving"))
    old, new = (mlflow.pyfunc.load_model(str(place)) for place in (folder, logged[0]))
    users = pd.DataFrame({"user": ["u2", "u0"]})
    assert old.predict(users).equals(new.predict(users))


def test_a_ranker_that_cannot_be_logged_costs_one_warning(world, empty_store, tmp_path, monkeypatch):
    catalog, interactions, ranker = world
    monkeypatch.setattr(ranker, "save", lambda folder: Path("/dev/full").write_text("x" * 99999))
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    with Tracker("c", {}, output=tmp_path / "x", uri=f"sqlite:///{tmp_path}/mlflow.db") as tracker:
        with pytest.warns(TrackingWarning, match="No space left"):
            log_ranker(tracker.run, ranker, catalog, interactions)
        log_ranker(tracker.run, ranker, catalog, interactions)  # silent by now


def served(n_items: int = 6) -> ServedRanker:
    top = np.array([[4, 2, 0, 1], [3, 5, -1, -1]], np.int32)
    return ServedRanker(np.array(["ann", "bob"]), np.array([f"i{i}" for i in range(n_items)]), top)


def test_a_user_with_few_items_left_gets_fewer():
    answer = served().predict(pd.DataFrame({"user": ["bob", "ann", "bob"]}), {"k": 3})
    assert answer["items"].tolist() == [["i3", "i5"], ["i4", "i2", "i0"], ["i3", "i5"]]


@pytest.mark.parametrize(
    ("users", "k", "words"),
    [
        ({"user": ["ann", "bop"]}, 2, ["unknown user 'bop'", "Did you mean 'bob'", "the 2 users"]),
        ({"user": ["ann"]}, 0, ["k must be in [1, 4], got 0"]),
        ({"user": ["ann"]}, 5, ["k must be in [1, 4], got 5"]),
        ({"person": ["ann"]}, 2, ["column 'user' or 'history'", "person"]),
        ({"history": [["i0"]]}, 2, ["only the lists of known users", "Log it again"]),
        ({"history": [["i0"], ["i9"]]}, 2, ["unknown item 'i9'", "the 6 items"]),
        ({"history": ["i0"]}, 2, ["a list of item ids", "'i0'"]),
        ({"user": ["ann"], "history": [["i0"]]}, 2, ["either a user or the history"]),
        ({"user": [None]}, 2, ["either a user or the history"]),
        ({"user": ["ann"], "item": ["i0"]}, 2, ["an item and its picture together"]),
        ({"history": [["i0"]], "item": ["i0"], "picture": ["aGk="]}, 2, ["for a known user"]),
        ({"user": ["ann"], "item": ["i0"], "picture": ["hi!"]}, 2, ["base64", "hi!"]),
        ({"user": ["ann"], "item": ["i0"], "picture": ["aGk="]}, 2, ["a picture is wanted", "row 0"]),
    ],
)
def test_errors_say_what_is_known(users, k, words):
    with pytest.raises(DataError) as error:
        served().predict(pd.DataFrame(users), {"k": k})
    for word in words:
        assert word in str(error.value)


@pytest.fixture(scope="module")
def shop_ranker(empty_store, tmp_path_factory):
    """MICRO on a small shop, logged: its address, the store, the ranker, catalogue and data."""
    here = tmp_path_factory.mktemp("shop")
    shutil.copy(empty_store, here / "mlflow.db")
    uri = f"sqlite:///{here}/mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECSIM_CACHE", str(here / "cache"))
        dataset = shop()
        catalog = encode(dataset)
        ranker = make_ranker(RankerSpec("micro", QUICK)).fit(catalog, dataset.interactions, rng=Rng(0))
        with Tracker("train_ranker", {}, output=here / "x", uri=uri) as tracker:
            log_ranker(tracker.run, ranker, catalog, dataset.interactions)
        assert not tracker.store.failed
        yield f"runs:/{tracker.run.id}/ranker", uri, ranker, catalog, dataset


def as_sent(image) -> str:
    """A picture as it is posted."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def posted(address: str, rows: list[dict], **params) -> list[dict]:
    """What the served model answers to these rows."""
    body = json.dumps({"dataframe_records": rows, "params": params}).encode()
    head = {"Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(f"{address}/invocations", body, head)) as response:
        return json.load(response)["predictions"]


USER, ITEM = 2, 5


@pytest.fixture(scope="module")
def asked(shop_ranker):
    """A person who is nobody there, and a user with a picture on an item, that which moves it most."""
    *_, ranker, catalog, dataset = shop_ranker
    history = [row for e in dataset.episodes[:2] for row in e.history]
    alike = np.flatnonzero(catalog.categories == catalog.categories[ITEM])
    features = {"image": catalog.features["image"][alike]}
    moved = ranker.substitute(np.full(len(alike), USER), np.full(len(alike), ITEM), features)
    most = alike[np.abs(moved.rank - moved.original_rank).argmax()]
    picture = as_sent(dataset.catalog.images.read(int(most)))
    user = str(dataset.interactions.user_ids[USER])
    return [
        {"user": None, "history": catalog.item_ids[history].tolist(), "item": None, "picture": None},
        {"user": user, "history": None, "item": str(catalog.item_ids[ITEM]), "picture": picture},
    ]


def test_new_people_get_lists_and_pictures_ranks(shop_ranker, asked, monkeypatch):
    """As the ranker itself says: by folding the history in, and by substituting the picture."""
    address, uri, ranker, catalog, _ = shop_ranker
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    new, other = mlflow.pyfunc.load_model(address).predict(pd.DataFrame(asked)).to_dict("records")
    chosen = np.unique([catalog.row_of[item] for item in asked[0]["history"]])
    scores = ranker.fold_in([chosen])[0].numpy()
    scores[chosen] = -np.inf
    best = scores[[catalog.row_of[i] for i in new["items"]]]
    assert best.tolist() == np.sort(scores)[::-1][:10].tolist()
    assert best[-1] > np.median(scores)
    assert (new["user"], new["rank"]) == (None, None)
    encoder = make_encoder(catalog.encoder_of("image"))
    shown = Image.open(io.BytesIO(base64.b64decode(asked[1]["picture"])))
    features = {"image": encoder.encode_images([shown])}
    own = ranker.substitute(np.array([USER]), np.array([ITEM]), features)
    assert (other["original_rank"], other["rank"]) == (own.original_rank[0], own.rank[0])
    assert other["original_rank"] != other["rank"]


@pytest.mark.slow
def test_over_http_the_same_is_answered(shop_ranker, asked, tmp_path, monkeypatch):
    address, uri, *_ = shop_ranker
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    own = mlflow.pyfunc.load_model(address).predict(pd.DataFrame(asked), {"k": 4}).to_dict("records")
    with model_server(address, uri, tmp_path) as server:
        assert posted(server, asked, k=4) == own
        with pytest.raises(urllib.error.HTTPError) as refused:
            posted(server, [{"history": ["nothing"]}])
        assert refused.value.code == 400
        assert "unknown item 'nothing'" in refused.value.read().decode()
