"""FLUX with a third branch: an image as condition, with LoRA on that branch only (Tan et al. 2025).

Text, noise and condition attend to each other in every block. The condition's tokens are at time 0, and LoRA
of linear layers is only active for these tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from generators.subjects.flux import heads
from recsim_gen.core.errors import DataError

A, B = ".lora_A.weight", ".lora_B.weight"
PREFIX = "transformer."
REMEDY = "Take omini/subject_512.safetensors of Yuanshi/OminiControl, and FLUX.1 of the size it was made for"


@dataclass(frozen=True)
class Condition:
    """An image as packed latents (1, n, c), and the positions of its patches (n, 3)."""

    latents: Tensor
    ids: Tensor


class BranchLoRA:
    """LoRA on linear layers of a transformer that is only active inside ``with``.

    ``weights`` with the names of diffusers' ``save_lora_weights``; their scale is 1. Raises DataError for a
    layer that the transformer does not have, or of another shape.
    """

    def __init__(self, transformer: torch.nn.Module, weights: Mapping[str, Tensor]) -> None:
        self.on = False
        modules = dict(transformer.named_modules())
        for name in (n.removesuffix(A) for n in weights if n.endswith(A)):
            layer = modules.get(name.removeprefix(PREFIX))
            down, up = weights[name + A], weights.get(name + B)
            shape = None if layer is None else tuple(getattr(layer, "weight", down).shape)
            if layer is None or up is None or shape != (up.shape[0], down.shape[1]):
                got = None if up is None else (up.shape[0], down.shape[1])
                raise DataError(f"LoRA of {name} must be for {shape}, got {got}", remedy=REMEDY)
            layer.register_forward_hook(self._hook(down.to(layer.weight), up.to(layer.weight)))
        if not any(n.endswith(A) for n in weights):
            raise DataError("LoRA is wanted, got no lora_A", remedy=REMEDY)

    def _hook(self, down: Tensor, up: Tensor) -> Callable[[Any, tuple[Tensor, ...], Tensor], Tensor]:
        def hook(_: Any, args: tuple[Tensor, ...], out: Tensor) -> Tensor:
            """Add the LoRA to the layer's output while it is on."""
            return out + F.linear(F.linear(args[0], down), up) if self.on else out

        return hook

    def __enter__(self) -> None:
        self.on = True

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.on = False


class ConditionedForward:
    """Replaces a FLUX transformer's ``forward`` while an image is drawn with a condition."""

    def __init__(self, transformer: Any, lora: BranchLoRA, condition: Condition) -> None:
        self.transformer, self.lora, self.condition = transformer, lora, condition

    def __call__(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        pooled_projections: Tensor,
        timestep: Tensor,
        img_ids: Tensor,
        txt_ids: Tensor,
        guidance: Tensor | None = None,
        **_: Any,
    ) -> tuple[Tensor]:
        """Return the prediction (1, n, c); arguments as for ``FluxTransformer2DModel.forward``."""
        model, lora = self.transformer, self.lora

        def embedded(time: Tensor, told: Tensor | None) -> Tensor:
            """Return the (B, d) embedding of time (0 to 1), guidance and pooled text."""
            parts = [time.to(hidden_states.dtype) * 1000]
            parts += [] if told is None else [told.to(hidden_states.dtype) * 1000]
            out: Tensor = model.time_text_embed(*parts, pooled_projections)
            return out

        now = embedded(timestep, guidance)
        start = embedded(torch.zeros_like(timestep), None if guidance is None else torch.ones_like(guidance))
        text, image = model.context_embedder(encoder_hidden_states), model.x_embedder(hidden_states)
        with lora:
            condition = model.x_embedder(self.condition.latents)
        rotary = model.pos_embed(torch.cat([txt_ids, img_ids, self.condition.ids]))
        for block in model.transformer_blocks:
            text, image, condition = self._double(block, text, image, condition, now, start, rotary)
        main = torch.cat([text, image], dim=1)
        for block in model.single_transformer_blocks:
            main, condition = self._single(block, main, condition, now, start, rotary)
        return (model.proj_out(model.norm_out(main[:, text.shape[1] :], now)),)

    def _double(
        self,
        block: Any,
        text: Tensor,
        image: Tensor,
        condition: Tensor,
        now: Tensor,
        start: Tensor,
        rotary: Any,
    ) -> tuple[Tensor, Tensor, Tensor]:
        attn = block.attn
        text_in, *of_text = block.norm1_context(text, emb=now)
        shown, *of_image = block.norm1(image, emb=now)
        with self.lora:
            given, *of_condition = block.norm1(condition, emb=start)
            last = _own(attn, given)
        parts = [
            (
                attn.norm_added_q(heads(attn, attn.add_q_proj(text_in))),
                attn.norm_added_k(heads(attn, attn.add_k_proj(text_in))),
                heads(attn, attn.add_v_proj(text_in)),
            ),
            _own(attn, shown),
            last,
        ]
        one, two, three = _attended(parts, rotary)
        text = _after(text, attn.to_add_out(one), of_text, block.norm2_context, block.ff_context)
        image = _after(image, attn.to_out[0](two), of_image, block.norm2, block.ff)
        with self.lora:
            condition = _after(condition, attn.to_out[0](three), of_condition, block.norm2, block.ff)
        return text, image, condition

    def _single(
        self, block: Any, main: Tensor, condition: Tensor, now: Tensor, start: Tensor, rotary: Any
    ) -> tuple[Tensor, Tensor]:
        shown, gate = block.norm(main, emb=now)
        with self.lora:
            given, gate_given = block.norm(condition, emb=start)
            last = _own(block.attn, given)
        one, two = _attended([_own(block.attn, shown), last], rotary)

        def after(x: Tensor, normed: Tensor, attended: Tensor, weight: Tensor) -> Tensor:
            """Return a stream's tokens after the MLP, added with its gate ``weight``."""
            both = torch.cat([attended, block.act_mlp(block.proj_mlp(normed))], dim=2)
            out: Tensor = x + weight.unsqueeze(1) * block.proj_out(both)
            return out

        main = after(main, shown, one, gate)
        with self.lora:
            condition = after(condition, given, two, gate_given)
        return main, condition


def _own(attn: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return queries, keys and values (1, n, heads, d) of the image stream."""
    query, key = attn.norm_q(heads(attn, attn.to_q(x))), attn.norm_k(heads(attn, attn.to_k(x)))
    return query, key, heads(attn, attn.to_v(x))


def _attended(parts: list[tuple[Tensor, Tensor, Tensor]], rotary: Any) -> tuple[Tensor, ...]:
    """Return each part (1, n, d) after joint attention of all parts."""
    from diffusers.models.embeddings import apply_rotary_emb

    query, key, value = (torch.cat(each, dim=1) for each in zip(*parts, strict=True))
    turned: list[Any] = [apply_rotary_emb(x, rotary, sequence_dim=1) for x in (query, key)]
    out = F.scaled_dot_product_attention(*(x.transpose(1, 2) for x in (*turned, value)))
    lengths = [part[0].shape[1] for part in parts]
    each: tuple[Tensor, ...] = out.transpose(1, 2).flatten(2).to(query.dtype).split(lengths, dim=1)
    return each


def _after(x: Tensor, attended: Tensor, gates: list[Tensor], norm: Any, feed_forward: Any) -> Tensor:
    """Return the rest of a double-stream block after its attention; ``gates`` of its first norm."""
    gate, shift_mlp, scale_mlp, gate_mlp = (each[:, None] for each in gates)
    x = x + gate * attended
    out: Tensor = x + gate_mlp * feed_forward(norm(x) * (1 + scale_mlp) + shift_mlp)
    return out
