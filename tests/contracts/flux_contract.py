"""The contract of subject-driven methods on FLUX, with tiny random weights."""

from typing import ClassVar

import pytest
import tiny_pipelines

from recsim_gen.core.errors import MissingDependency
from recsim_gen.testing.subject_contract import SubjectContract

SMALL = {"size": 16, "steps": 2, "text_length": 16}


class FluxContract(SubjectContract):
    looks = True
    folders: ClassVar[dict[str, str]]

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _saved(cls, tmp_path_factory):
        places = {}
        for setting, saved in cls.folders.items():
            save = getattr(tiny_pipelines, f"save_{saved}")
            places[setting] = str(save(tmp_path_factory.mktemp(saved)))
        cls.settings = {**cls.settings, **places}

    def test_missing_weights_are_told_with_their_licence(self, tmp_path):
        for setting in self.folders:
            method = self.make(**{setting: str(tmp_path / "nowhere")})
            with pytest.raises(MissingDependency, match=r"nowhere \(licence: (FLUX|Apache)") as told:
                method.family.require(*method.roles)
            assert "\n" not in str(told.value)
