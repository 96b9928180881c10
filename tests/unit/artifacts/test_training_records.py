"""How a training went: passed on while it runs, kept, and told again where it is found."""

from __future__ import annotations

from recsim_gen.artifacts.training_records import Recorder, read_record, tell_again


class Run:
    """A run that keeps what it is given."""

    def __init__(self) -> None:
        self.epochs, self.files = [], []

    def log_epoch(self, epoch, numbers, prefix=""):
        self.epochs.append((epoch, dict(numbers), prefix))

    def log_file(self, path, folder=None):
        self.files.append((path, folder))


def test_all_parts_of_a_training_go_to_one_run_and_are_told_again_alike(tmp_path):
    run, again = Run(), Run()
    record = Recorder(run, "seed_3/")
    record.child("warm-start").log_epoch(10, {"loss": 2.0})
    record.child("policy").log_epoch(10, {"loss": 1.0, "reward": 0.5})
    record.child("policy").log_file("sheet.png", "samples")
    assert run.epochs == [
        (10, {"loss": 2.0}, "seed_3/warm-start/"),
        (10, {"loss": 1.0, "reward": 0.5}, "seed_3/policy/"),
    ]
    assert run.files == [("sheet.png", "samples")]
    record.write(tmp_path)
    kept = read_record(tmp_path)
    assert (kept["loss"], kept["reward"]) == (1.0, 0.5)  # the last of each
    assert {"seconds", "peak_memory"} < set(kept)
    tell_again(tmp_path, again.log_epoch)
    assert again.epochs == run.epochs


def test_without_a_run_it_is_kept_all_the_same(tmp_path):
    record, again = Recorder(None), Run()
    record.child("policy").log_epoch(1, {"loss": 2.0})
    record.write(tmp_path)
    tell_again(tmp_path, again.log_epoch)
    assert again.epochs == [(1, {"loss": 2.0}, "policy/")]


def test_of_what_was_kept_without_curves_nothing_is_told(tmp_path):
    again = Run()
    tell_again(tmp_path, again.log_epoch)
    (tmp_path / "curves.json").write_text("[[1, {")  # broken off
    tell_again(tmp_path, again.log_epoch)
    assert again.epochs == []
