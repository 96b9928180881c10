"""The contract of subject-driven methods, for `ominicontrol` with tiny weights; and its arithmetic."""

from typing import ClassVar

import pytest
import tiny_pipelines
import torch
from flux_contract import SMALL, FluxContract

from recsim_gen.core.errors import DataError
from recsim_gen.core.randomness import Rng
from recsim_gen.testing.generator_contract import tiny  # noqa: F401 - a fixture


class TestOminiControl(FluxContract):
    name = "ominicontrol"
    folders: ClassVar = {"weights": "flux", "lora": "omini"}
    settings: ClassVar = dict(SMALL)

    def made(self):
        """A transformer with LoRA of zeros, arguments of its call, and a condition."""
        from generators.subjects.omini_forward import BranchLoRA, Condition

        transformer = tiny_pipelines.flux_parts()["transformer"].requires_grad_(False)
        random = Rng(0).torch()
        zeros = {
            "transformer.x_embedder.lora_A.weight": torch.zeros(2, 16),
            "transformer.x_embedder.lora_B.weight": torch.zeros(32, 2),
        }
        call = {
            "hidden_states": torch.randn(1, 6, 16, generator=random),
            "encoder_hidden_states": torch.randn(1, 3, 16, generator=random),
            "pooled_projections": torch.randn(1, 16, generator=random),
            "timestep": torch.zeros(1),
            "img_ids": torch.arange(18).reshape(6, 3).float(),
            "txt_ids": torch.zeros(3, 3),
        }
        condition = Condition(torch.randn(1, 4, 16, generator=random), torch.arange(12).reshape(4, 3).float())
        return transformer, BranchLoRA(transformer, zeros), call, condition

    def test_at_time_0_without_lora_a_condition_is_more_of_the_picture(self):
        """Then diffusers' own forward says the same, of the tokens of both."""
        from generators.subjects.omini_forward import ConditionedForward

        transformer, lora, call, condition = self.made()
        both = {
            **call,
            "hidden_states": torch.cat([call["hidden_states"], condition.latents], dim=1),
            "img_ids": torch.cat([call["img_ids"], condition.ids]),
        }
        theirs = transformer(**both, return_dict=False)[0][:, :6]
        ours = ConditionedForward(transformer, lora, condition)(**call)[0]
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)

    def test_the_condition_stays_at_time_0(self):
        from generators.subjects.omini_forward import ConditionedForward

        transformer, lora, call, condition = self.made()
        later = {**call, "timestep": torch.ones(1)}
        seen = []
        handle = transformer.time_text_embed.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
        ConditionedForward(transformer, lora, condition)(**later)
        handle.remove()
        assert [float(time) for time in seen] == [1000, 0]

    def test_lora_counts_inside_the_branch_alone(self):
        from generators.subjects.omini_forward import BranchLoRA

        layer = torch.nn.Sequential(torch.nn.Linear(3, 5))
        x, down, up = torch.randn(4, 3), torch.randn(2, 3), torch.randn(5, 2)
        without = layer(x)
        lora = BranchLoRA(layer, {"transformer.0.lora_A.weight": down, "transformer.0.lora_B.weight": up})
        assert torch.equal(layer(x), without)
        with lora:
            torch.testing.assert_close(layer(x), without + x @ down.T @ up.T)
        assert torch.equal(layer(x), without)

    def test_the_reference_stands_to_the_right_of_the_picture(self):
        method = self.make()
        condition = method._condition(self.one.images[0], Rng(0))
        assert condition.latents.shape == (1, 16, 16)
        assert condition.ids[:, 1].tolist() == [row for row in range(4) for _ in range(4)]
        assert condition.ids[:, 2].tolist() == [4, 5, 6, 7] * 4

    def test_lora_of_other_layers_is_told(self):
        from generators.subjects.omini_forward import BranchLoRA

        layer = torch.nn.Sequential(torch.nn.Linear(3, 5))
        for name, inside in (("1", 3), ("0", 4)):
            down, up = torch.zeros(2, inside), torch.zeros(5, 2)
            weights = {f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}
            with pytest.raises(DataError, match=rf"LoRA of {name} must be for .*FLUX\.1 of the size"):
                BranchLoRA(layer, weights)
        with pytest.raises(DataError, match="got no lora_A"):
            BranchLoRA(layer, {})
