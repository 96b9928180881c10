"""Judges by what a reader names: labels as rows have them, verdicts of folders, rankers trained here."""

from __future__ import annotations

import brought
import pytest

from recsim_gen.artifacts.trained_rankers import trained_ranker
from recsim_gen.core.errors import DataError, SettingError
from recsim_gen.core.results import Results
from recsim_gen.core.specs import JudgeSpec, RankerSpec
from recsim_gen.encoders.features import encode
from recsim_gen.judging.guards import Guard
from recsim_gen.judging.judges import Judge, check_judges, judge_labels, loaded_judge, open_judges
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
            spec = RankerSpec("bpr", QUICK)
            trained_ranker(spec, catalog, dataset.interactions, seed=seed).save(here / name)
        yield here, catalog, dataset.interactions


def specs(*names):
    return [JudgeSpec(str(name)) for name in names]


def test_a_judge_is_called_by_its_name_and_seed():
    ranker = object()
    assert Judge("micro", 1, ranker).label == "micro-seed1"
    assert Judge("mine", None, ranker).label == "mine"


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
    here, catalog, interactions = kept
    results = Results("x", {})
    named = [*specs(here / "b/bpr-seed0", here / "a/mine"), JudgeSpec("bpr-seed2", QUICK)]
    judges = open_judges(named, catalog, interactions, results=results)
    assert [(judge.name, judge.seed, judge.label) for judge in judges] == [
        ("bpr", 0, "bpr-seed0"),
        ("mine", None, "mine"),
        ("bpr", 2, "bpr-seed2"),
    ]
    assert results.fingerprints == {f"ranker {judge.label}": judge.ranker.fingerprint for judge in judges}
    assert len(set(results.fingerprints.values())) == 3
    (note,) = results.notes
    assert note.startswith("bpr-seed2: whether it looks at images was not tested")
    same = trained_ranker(RankerSpec("bpr", QUICK), catalog, interactions, seed=2)
    assert judges[2].ranker.fingerprint == same.fingerprint
    nested = open_judges(
        specs(here / "a/bpr-seed0", here / "b/bpr-seed0"), catalog, interactions, results=results
    )
    assert [(judge.name, judge.seed) for judge in nested] == [("a/bpr", 0), ("b/bpr", 0)]
    assert loaded_judge(here / "a/bpr-seed0", catalog, interactions).label == "bpr-seed0"


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
    with pytest.raises(DataError, match="a trained ranker is wanted"):
        check_judges(specs(tmp_path), force=False)
    with pytest.raises(SettingError, match=r"NAME-seedN \(micro-seed0\) or a folder.*got 'micro'"):
        check_judges(specs("micro"), force=False)
    with pytest.raises(SettingError, match="unknown ranker 'mikro'"):
        check_judges(specs("mikro-seed0"), force=False)
    with pytest.raises(SettingError, match="epoks"):
        check_judges([JudgeSpec("bpr-seed0", {"epoks": 3})], force=False)
