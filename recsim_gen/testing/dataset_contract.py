"""Contract of datasets; test a new one by a subclass that implements ``make``."""

import numpy as np

from recsim_gen.core.randomness import Rng
from recsim_gen.core.registry import ENCODERS
from recsim_gen.core.types import Dataset
from recsim_gen.datasets.splits import resplit


class DatasetContract:
    """Contract of datasets.

    Subclasses implement ``make``, which opens the dataset. It is opened once per class for the tests that
    only read.
    """

    def make(self) -> Dataset:
        raise NotImplementedError

    def test_choices_refer_to_the_catalogue_and_every_user_has_some(self):
        data = self.make()
        chosen = data.interactions
        assert chosen.n_items == len(data.catalog)
        assert np.isfinite(chosen.time).all()
        assert np.isfinite(chosen.weight).all()
        assert len(np.unique(chosen.user)) == chosen.n_users == len(np.unique(chosen.user_ids))

    def test_every_episode_is_a_test_choice_known_by_what_is_not_test(self):
        data = self.make()
        chosen = data.interactions
        histories: dict[int, list[tuple[float, int]]] = {}
        tests = set()
        for user, item, time, split in zip(chosen.user, chosen.item, chosen.time, chosen.split, strict=True):
            if split == "test":
                tests.add((user, item))
            else:
                histories.setdefault(user, []).append((time, item))
        assert {(e.user, e.reference) for e in data.episodes} == tests
        assert len({e.id for e in data.episodes}) == len(data.episodes) == len(tests) > 0
        for episode in data.episodes:
            known = histories[episode.user]
            assert sorted(i for _, i in known) == sorted(episode.history)
            when = {item: time for time, item in known}
            times = [when[item] for item in episode.history]
            assert times == sorted(times)

    def test_something_is_learned_from_selected_on_and_tested(self):
        split = self.make().interactions.split
        assert (split == "train").sum() > (split == "valid").sum() > 0

    def test_a_user_has_one_person_behind_whatever_the_split(self):
        data = self.make()
        assert data.people.shape == (data.interactions.n_users,)
        assert (np.char.str_len(data.people) > 0).all()
        for made in (data, resplit(data, "by-time", Rng(0))):
            assert made.people.tolist() == data.people.tolist()
            assert all(made.people[episode.user] == episode.source_user for episode in made.episodes)

    def test_every_item_has_words(self):
        catalog = self.make().catalog
        for column in (catalog.titles, catalog.captions, catalog.categories):
            assert (np.char.str_len(np.char.strip(column)) > 0).all()

    def test_pictures_are_rgb_where_present(self):
        images = self.make().catalog.images
        if images is None:
            return
        assert images.present.dtype == bool
        rows = np.flatnonzero(images.present)
        assert len(rows) > 0
        for row in rows[:: max(1, len(rows) // 20)]:
            picture = images.read(row)
            assert picture.mode == "RGB"
            assert min(picture.size) > 0

    def test_default_encoders_are_known_and_have_something_to_read(self):
        data = self.make()
        assert data.encoders
        assert set(data.encoders) <= {"image", "text"}
        assert ("image" in data.encoders) == (data.catalog.images is not None)
        assert {name.partition(":")[0] for name in data.encoders.values()} <= set(ENCODERS)

    def test_opening_twice_gives_the_same(self):
        assert self.make().fingerprint == self.make().fingerprint
