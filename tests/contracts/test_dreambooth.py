"""The contract of subject-driven methods, for `dreambooth`."""

from typing import ClassVar

from dreambooth_contract import DreamBoothContract

from recsim_gen.testing.generator_contract import tiny  # noqa: F401 - a fixture


class TestDreamBooth(DreamBoothContract):
    name = "dreambooth"
    settings: ClassVar = {"steps": 3, "batch_size": 2, "prior_images": 2, "lr": 1e-2}
