"""The contract of subject-driven methods, for `dreambooth_lora`."""

from typing import ClassVar

import torch
from dreambooth_contract import DreamBoothContract

from recsim_gen.core.randomness import Rng
from recsim_gen.testing.generator_contract import tiny  # noqa: F401 - a fixture


class TestDreamBoothLoRA(DreamBoothContract):
    name = "dreambooth_lora"
    settings: ClassVar = {"steps": 3, "batch_size": 2, "prior_images": 2, "lr": 5e-2, "rank": 4}
    small_steps: ClassVar = {"lr": 3e-3}

    def test_the_unet_itself_stays(self):
        unet = self.make().fit(self.one, rng=Rng(0)).ready().pipeline.unet
        before = self.family.diffusion(device="cpu").unet.state_dict()
        after = {name.replace(".base_layer", ""): x for name, x in unet.state_dict().items()}
        assert all(torch.equal(after[name], x) for name, x in before.items())
        assert any("lora_B" in name and bool(x.any()) for name, x in after.items())
