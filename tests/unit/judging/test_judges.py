"""Judges by what a reader names: labels as rows have them, verdicts of folders, rankers trained here."""

from __future__ import annotations

import brought
import pytest

from recsim_gen.artifacts.checkpoints import ORIGIN, Origin, keep_ranker
from recsim_gen.artifacts.trained_rankers import trained_ranker
from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.registry import RANKERS, resolve
from recsim_gen.core.results import Results
from recsim_gen.core.specs import JudgeSpec, RankerSpec
from recsim_gen.encoders.features import encode
from recsim_gen.judging.guards import Guard
from recsim_gen.judging.judges import (
    Judge,
    check_judges,
    judge_labels,
    log_curves,
    open_judge,
    open_judges,
    says_how_sure,
)
from recsim_gen.judging.modality_use import NAME
from recsim_gen.judging.verdicts import store

QUICK = brought.QUICK


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A shop and folders of BPR: two of one name, and one whose name tells no seed."""
    with pytest.MonkeyPatch.context() as patch:
        here = tmp_path_factory.mktemp("here")
        patch.setenv("RECSIM_CACHE", str(here / "cache"))
        dataset = brought.shop()
        catalog = encode(dataset)
        for name, seed in (("a/bpr-seed0", 0), ("b/bpr-seed0", 0), ("a/mine", 1)):
            ranker = trained_ranker(RankerSpec("bpr", QUICK), catalog, dataset.interactions, seed=seed)
            keep_ranker(ranker, here / name, Origin(seed, catalog.encoders))
        yield here, dataset, catalog


def specs(*names):
    return [JudgeSpec(str(name)) for name in names]


def test_a_judge_is_called_by_its_name_and_seed():
    ranker = object()
    assert Judge("micro", 1, ranker, None).label == "micro-seed1"
    assert Judge("mine", None, ranker, None).label == "mine"


def test_labels_have_as_many_folders_as_tell_them_apart(kept):
    here = kept[0]
    assert judge_labels([]) == []
    assert judge_labels(specs(here / "a/bpr-seed0", "micro-seed0")) == ["bpr-seed0", "micro-seed0"]
    two = specs(here / "a/bpr-seed0", here / "b/bpr-seed0", "bpr-seed0")
    assert judge_labels(two) == ["a/bpr-seed0", "b/bpr-seed0", "bpr-seed0"]
    for twice in ((here / "a/mine", here / "b/../a/mine"), ("bpr-seed0", "bpr-seed0")):
        with pytest.raises(SettingError, match=r"--judges must be given once, got .* twice"):
            judge_labels(specs(*twice))


def test_folders_and_rankers_to_train_are_opened_side_by_side(kept):
    here, dataset, catalog = kept
    results = Results("x", {})
    named = [*specs(here / "b/bpr-seed0", here / "a/mine"), JudgeSpec("bpr-seed2", QUICK)]
    judges = open_judges(named, dataset, catalog, results=results)
    assert [(judge.name, judge.seed, judge.label) for judge in judges] == [
        ("bpr", 0, "bpr-seed0"),
        ("mine", None, "mine"),
        ("bpr", 2, "bpr-seed2"),
    ]
    assert results.fingerprints == {f"ranker {judge.label}": judge.ranker.fingerprint for judge in judges}
    assert len(set(results.fingerprints.values())) == 3
    (note,) = results.notes
    assert note.startswith("bpr-seed2: whether it looks at images was not tested")
    same = trained_ranker(RankerSpec("bpr", QUICK), catalog, dataset.interactions, seed=2)
    assert judges[2].ranker.fingerprint == same.fingerprint
    nested = open_judges(specs(here / "a/bpr-seed0", here / "b/bpr-seed0"), dataset, catalog, results=results)
    assert [(judge.name, judge.seed) for judge in nested] == [("a/bpr", 0), ("b/bpr", 0)]
    (one,) = specs(here / "a/bpr-seed0")
    assert open_judge(one, dataset, catalog).label == "bpr-seed0"


def test_curves_of_judges_that_were_trained_here_are_logged_under_their_labels(kept):
    """Once each, also where the judge was only found again; of a folder's training nothing is known."""
    here, dataset, catalog = kept
    (folder,) = specs(here / "a/mine")
    trained = open_judge(JudgeSpec("bpr-seed2", QUICK), dataset, catalog)
    logged = []

    class Run:
        def log_epoch(self, epoch, numbers, prefix=""):
            logged.append((prefix, epoch, *numbers))

    log_curves([trained, open_judge(folder, dataset, catalog), trained], Run())
    epochs = trained.ranker.config.epochs
    assert [line[:2] for line in logged] == [("bpr-seed2/", epoch + 1) for epoch in range(epochs)]
    assert all("loss" in line for line in logged)


def test_a_judge_sees_items_by_an_encoder_of_its_own(kept, tmp_path):
    """Named with it, or kept with it in a folder; whatever the command's encoder is."""
    _, dataset, catalog = kept
    named = JudgeSpec("taste@brought:Backwards-seed3")
    judge = open_judge(named, dataset, catalog)
    assert (judge.name, judge.seed, judge.label) == ("taste@brought:Backwards", 3, named.name)
    assert judge.catalog.encoder_of("image") == "brought:Backwards"
    assert judge.catalog.encoder_of("text") == catalog.encoder_of("text")
    assert (judge.catalog.features["image"] != catalog.features["image"]).any()
    keep_ranker(judge.ranker, tmp_path / "x-seed3", Origin(3, judge.catalog.encoders))
    (folder,) = specs(tmp_path / "x-seed3")
    again = open_judge(folder, dataset, catalog)
    assert (again.name, again.seed) == ("x", 3)
    assert again.ranker.fingerprint == judge.ranker.fingerprint
    assert again.catalog.fingerprint == judge.catalog.fingerprint
    (tmp_path / "x-seed3" / ORIGIN).write_text("{}")
    with pytest.raises(DataError, match=r"must hold seed and encoders.*Delete it"):
        open_judge(folder, dataset, catalog)
    (tmp_path / "x-seed3" / ORIGIN).unlink()
    with pytest.raises(DataError, match="trained on other data or features"):
        open_judge(folder, dataset, catalog)


def test_who_says_how_sure_it_is_is_known_without_training(kept):
    assert says_how_sure(JudgeSpec("taste@boutique-clip-seed0"))
    assert not says_how_sure(JudgeSpec("micro-seed0"))
    assert not says_how_sure(*specs(kept[0] / "a/mine"))


def test_the_verdict_of_a_folder_is_asked_before_any_data_is_read(kept):
    here = kept[0]
    assert check_judges([], force=False) == []
    assert check_judges(specs("micro-seed0", "bpr-seed1"), force=False) == []
    (note,) = check_judges(specs(here / "a/mine"), force=False)
    assert note.startswith("mine: whether it looks at images was not tested")
    store(here / "b/bpr-seed0", Guard(NAME, "does not use", {}, "the ranker does not use the image"))
    with pytest.raises(SettingError, match=r"bpr-seed0 must not judge images.*--force"):
        check_judges(specs(here / "b/bpr-seed0"), force=False)
    (note,) = check_judges(specs(here / "b/bpr-seed0"), force=True)
    assert note.startswith("bpr-seed0: judges by force")


def test_what_is_no_judge_is_told(tmp_path):
    with pytest.raises(DataError, match="must be a trained ranker"):
        check_judges(specs(tmp_path), force=False)
    with pytest.raises(SettingError, match=r"NAME-seedN \(micro-seed0\) or a folder.*got 'micro'"):
        check_judges(specs("micro"), force=False)
    with pytest.raises(SettingError, match="unknown ranker 'mikro'"):
        check_judges(specs("mikro-seed0"), force=False)
    with pytest.raises(SettingError, match="epoks"):
        check_judges([JudgeSpec("bpr-seed0", {"epoks": 3})], force=False)


@pytest.mark.parametrize("name", RANKERS)
def test_a_config_says_whether_its_ranker_says_how_sure_it_is(name):
    assert says_how_sure(JudgeSpec(f"{name}-seed0")) == hasattr(resolve(name, RANKERS, "ranker"), "appraise")
