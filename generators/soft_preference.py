"""A person's taste as vectors in addition to the text: soft tokens of a frozen language model.

The learned parameters are a prefix to the prompt in every layer (keys and values: P-Tuning v2, Liu et al.
2022), the tokens after it, and a linear map from their last states to the width of the text encoder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from recsim_gen.core.errors import DataError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.training_loop import seeded

SPREAD = 0.1  # spread of the initial tokens around the mean of all words, in standard deviations


class SoftPreference(torch.nn.Module):
    """Maps prompts to soft tokens (B, S, width) through a language model.

    The language model is not part of its parameters.

    Parameters
    ----------
    model, tokenizer
        A causal language model, frozen here, and its tokenizer, which pads on the left.
    prefix, tokens
        P learned positions before the prompt, S soft tokens after it.
    width
        Width of the text encoder's states.
    rng
        Source of the initial weights.
    """

    def __init__(self, model: Any, tokenizer: Any, *, prefix: int, tokens: int, width: int, rng: Rng) -> None:
        super().__init__()
        self._language = (model, tokenizer)  # a tuple, so that its weights are not among the parameters
        config = model.config
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        with seeded(rng), torch.no_grad():
            table = model.get_input_embeddings().weight.float().cpu()
            noise = torch.randn(tokens, config.hidden_size)
            self.tokens = torch.nn.Parameter(table.mean(0) + SPREAD * table.std(0) * noise)
            shape = (config.num_hidden_layers, 2, heads, prefix, size)
            self.prefix = torch.nn.Parameter(config.initializer_range * torch.randn(shape))
            self.out = torch.nn.Linear(config.hidden_size, width)

    def forward(self, prompts: Sequence[str]) -> torch.Tensor:
        """Return (B, S, width) float32; padding is masked."""
        from transformers import DynamicCache

        model, tokenizer = self._language
        batch = tokenizer(list(prompts), padding=True, return_tensors="pt").to(model.device)
        words = model.get_input_embeddings()(batch["input_ids"])
        n, prefix = len(words), self.prefix.to(words)
        before = DynamicCache(config=model.config)
        for layer, (keys, values) in enumerate(prefix):
            before.update(keys.expand(n, -1, -1, -1), values.expand(n, -1, -1, -1), layer)
        embeds = torch.cat([words, self.tokens.to(words).expand(n, -1, -1)], dim=1)
        seen = batch["attention_mask"]
        ones = seen.new_ones(n, 1)
        mask = torch.cat([ones.expand(-1, prefix.shape[3]), seen, ones.expand(-1, len(self.tokens))], dim=1)
        hidden = model.base_model(
            inputs_embeds=embeds,
            attention_mask=mask,
            position_ids=(mask.cumsum(1) - 1)[:, prefix.shape[3] :],
            past_key_values=before,
            use_cache=True,
        ).last_hidden_state
        states: torch.Tensor = self.out(hidden[:, -len(self.tokens) :].to(self.out.weight.dtype))
        return states

    def learned(self) -> dict[str, torch.Tensor]:
        """Return the trained parameters on the CPU: ``prefix``, ``tokens``, ``out.weight``, ``out.bias``."""
        return {name: x.detach().float().cpu().clone() for name, x in self.state_dict().items()}

    def take(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Load what ``learned`` returned. Raises DataError if it does not fit the models."""
        expected = {name: tuple(x.shape) for name, x in self.state_dict().items()}
        got = {name: tuple(x.shape) for name, x in weights.items()}
        for name, shape in {**got, **expected}.items():
            if got.get(name) != expected.get(name):
                want = f"must be {shape}" if name in expected else "is not wanted"
                raise DataError(
                    f"soft preference: {name} {want}, got {got.get(name, 'none')}",
                    remedy="Was it learned with another language model or text encoder?",
                )
        self.load_state_dict(dict(weights))
