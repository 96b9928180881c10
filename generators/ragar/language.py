"""The language model of RAGAR (Eq. 7), with additional image tokens and LoRA."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from recsim_gen.core.training_loop import seeded
from recsim_gen.encoders.huggingface import masked_mean

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from recsim_gen.core.protocols import ExportedPart
    from recsim_gen.core.randomness import Rng
    from recsim_gen.models.family import ModelFamily


class ImageTokens(nn.Module):
    """A causal language model that reads a prompt followed by [IMG1]…[IMGL].

    Its weights are frozen; the trained parameters are LoRA of the attention and the rows of the new tokens,
    which are separate parameters, so that no optimiser changes the other rows.

    Parameters
    ----------
    model, tokenizer
        From a family; the model is modified.
    tokens
        L.
    rank, alpha
        Of LoRA (Hu et al. 2022), on the projections of queries and values.
    rng
        Source of the initial weights.
    gradient_checkpointing
        Recompute activations to save memory.
    """

    _new: Tensor

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        tokens: int,
        rank: int,
        alpha: int,
        rng: Rng,
        gradient_checkpointing: bool = False,
    ) -> None:
        from peft import LoraConfig, get_peft_model

        super().__init__()
        self.tokens, self._tokenizer = tokens, tokenizer
        device = model.device
        words: Any = model.get_input_embeddings()
        old = int(words.num_embeddings)
        new = list(range(old, old + tokens))
        config = LoraConfig(
            r=rank, lora_alpha=alpha, target_modules=["q_proj", "v_proj"], trainable_token_indices=new
        )
        with seeded(rng.for_("lora")):
            model.resize_token_embeddings(old + tokens, mean_resizing=False)
            words = model.get_input_embeddings()
            self._start(words.weight, old, rng)
            # Without the head, since no words are generated here.
            self.model: Any = get_peft_model(model.base_model, config).to(device)
        self.width = int(model.config.hidden_size)
        if gradient_checkpointing:
            self.model.gradient_checkpointing_enable({"use_reentrant": False})
            self.model.train()  # gradient checkpointing of transformers needs training mode
        self.register_buffer("_new", torch.tensor(new, device=device), persistent=False)
        longest = getattr(model.config, "max_position_embeddings", None) or 2048
        self._longest = int(longest) - tokens

    @staticmethod
    @torch.no_grad()
    def _start(table: Tensor, old: int, rng: Rng) -> None:
        """Initialise new rows near the mean of the others."""
        words = table[:old].float()
        shape = (len(table) - old, table.shape[1])
        apart = torch.randn(shape, generator=rng.for_("tokens").torch()).to(table.device)
        table[old:] = (words.mean(0) + 0.1 * words.std(0) * apart).to(table.dtype)

    def forward(self, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return E_txt (B, h), the mean of the prompt's last states, and E_img (B, L, h), both float32.

        E_img is the last state of each image token plus its embedding, as in GILL. A prompt that is too long
        for the model is cut at its beginning.
        """
        ids, mask = self._batch(prompts)
        places = (mask.cumsum(1) - 1).clamp_min(0)  # positions as without padding
        output = self.model(input_ids=ids, attention_mask=mask, position_ids=places, use_cache=False)
        hidden = output.last_hidden_state.float()
        rows = self.model.get_input_embeddings()(ids[:, -self.tokens :]).float()
        text = masked_mean(hidden[:, : -self.tokens], mask[:, : -self.tokens])
        return text, hidden[:, -self.tokens :] + rows

    def export(self, folder: Path, family: ModelFamily) -> ExportedPart:
        """Write LoRA and the rows of the new tokens in PEFT's format, for ``family``'s language model."""
        from recsim_gen.core.protocols import ExportedPart
        from recsim_gen.models.exporting import write_base

        base, name = write_base(family, "language_model", folder), "language_model_lora"
        self.model.peft_config["default"].base_model_name_or_path = base
        self.model.save_pretrained(folder / name, save_embedding_layers=False)
        (folder / name / "README.md").unlink(missing_ok=True)  # an empty template of PEFT
        rows = int(self._new[-1]) + 1
        return ExportedPart(
            name,
            f"LoRA of the language model {base}, and the rows of its {self.tokens} image tokens, the last",
            "from peft import PeftModel\nfrom transformers import AutoModel\n\n"
            f'language_model = AutoModel.from_pretrained("{base}")\n'
            f"language_model.resize_token_embeddings({rows})\n"
            f'language_model = PeftModel.from_pretrained(language_model, "{name}")',
        )

    def _batch(self, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return ids and mask (B, S + L), prompts padded on the left, the image tokens at the end."""
        cut = [ids[-self._longest :] for ids in self._tokenizer(list(prompts))["input_ids"]]
        padded = self._tokenizer.pad({"input_ids": cut}, return_tensors="pt", padding_side="left")
        ids, mask = (padded[name].to(self._new.device) for name in ("input_ids", "attention_mask"))
        new = self._new.expand(len(ids), -1)
        return torch.cat([ids, new], 1), torch.cat([mask, torch.ones_like(new)], 1)
