"""Training of an embedded LaVIT: first tokenizer and decoder, then the language model."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generators.denoising import draw_rows
from generators.images import image_of
from generators.lavit.language import answer_loss
from generators.lavit.parts import Parts, PictureCodes
from generators.prompts import prompt_of
from recsim_gen.core.training_loop import Loss, Schedule, fit, forget

if TYPE_CHECKING:
    import torch

    from generators.lavit.config import LaVITConfig
    from recsim_gen.core.protocols import TrainingTracker
    from recsim_gen.core.randomness import Rng
    from recsim_gen.core.types import Catalog

PICTURES, LANGUAGE = "lavit-tokenizer", "lavit-language"


def learn(
    parts: Parts,
    catalog: Catalog,
    items: Sequence[Sequence[int]],
    texts: Mapping[int, str],
    config: LaVITConfig,
    *,
    data: str,
    rng: Rng,
    work: Path | None,
    tracker: TrainingTracker | None,
) -> None:
    """Train tokenizer and decoder, then the language model, in place; image encoder and UNet stay frozen.

    ``items``: for each user, two or more rows with an image; ``texts``: for each of these rows, the target
    text of the decoder's states. Without ``work`` the training cannot be resumed.
    """
    from torch import nn

    pictures = nn.ModuleDict({"tokenizer": parts.tokenizer, "decoder": parts.decoder})
    with tempfile.TemporaryDirectory() if work is None else nullcontext(work) as folder:
        output = Path(folder)
        arguments: dict[str, Any] = {"output": output, "data": data, "tracker": tracker}
        reading = reading_loss(parts, catalog, texts, config)
        schedule = _schedule(config, config.steps, config.lr)
        fit(PICTURES, pictures, reading, schedule, rng=rng.for_("tokenizer"), **arguments)
        speaking = speaking_loss(parts, catalog, items, config)
        schedule = _schedule(config, config.language_steps, config.language_lr)
        fit(LANGUAGE, parts.language, speaking, schedule, rng=rng.for_("language"), **arguments)
        forget(output, PICTURES)
        forget(output, LANGUAGE)


def _schedule(config: LaVITConfig, steps: int, lr: float) -> Schedule:
    return Schedule(
        steps,
        lr,
        warmup=min(50, steps // 10),
        weight_decay=config.weight_decay,
        accumulate=config.accumulate,
    )


def reading_loss(parts: Parts, catalog: Catalog, texts: Mapping[int, str], config: LaVITConfig) -> Loss:
    """Return the loss of tokenizer and decoder, on images of the rows of ``texts``.

    1 − cos of the patches' features and the decoded ones, as in LaVIT; the codebook's loss; ``keep_weight``
    times (share kept − ``keep``)². The UNet stays frozen, where LaVIT trains its own by denoising, so the
    decoder's states are fitted to what this one can interpret: the text states of the item. (The gradient
    of the denoising loss through the frozen UNet is noise beside it.) Attention is invariant to repeating
    all keys, so the text states are repeated until there are as many as patches; those of the text's own
    tokens, which tell one text from another, weigh ``word_weight`` times as much as those of the padding. For
    half of the images the features are decoded instead of their codes, so that the decoder learns from the
    beginning, and codes are fitted to meaningful features.
    """
    import torch
    import torch.nn.functional as F

    rows = [*texts]

    def loss(step: Rng) -> dict[str, torch.Tensor]:
        """Return the losses of a batch: half its images as codes, half as unquantised features."""
        drawn = [rows[k] for k in draw_rows(len(rows), config.batch_size, step.numpy())]
        features = parts.vision.features([image_of(catalog, row) for row in drawn])
        tokens = parts.tokenizer(features, step.for_("tokens").torch())
        coded = torch.arange(len(drawn), device=features.device)[:, None, None] % 2 == 0
        vectors = torch.where(coded, tokens.vectors, tokens.features)
        decoded = parts.decoder.features(vectors, tokens.present)
        states = parts.decoder.unet_proj(decoded)
        told = [texts[row] for row in drawn]
        text, words = parts.sampler.states(told).float(), parts.sampler.worded(told)
        places = torch.arange(states.shape[1]) % text.shape[1]
        weight = torch.where(words, config.word_weight, 1.0)[:, places]
        apart = (states - text[:, places]).square().mean(-1)
        losses = {
            "features": config.feature_weight * (1 - F.cosine_similarity(decoded, features, dim=-1).mean()),
            "codes": tokens.loss,
            "kept": config.keep_weight * (tokens.share - config.keep) ** 2,
            "states": config.state_weight * (weight * apart).sum() / weight.sum(),
        }
        return {"loss": torch.stack([*losses.values()]).sum(), **losses}

    return loss


def speaking_loss(
    parts: Parts, catalog: Catalog, items: Sequence[Sequence[int]], config: LaVITConfig
) -> Loss:
    """Return the loss of the language model: codes of an item, after other items of its user and its prompt.

    The number of other items in a batch, 0 to ``images``, is random; a share ``drop`` of examples has no
    condition, for classifier-free guidance.
    """
    pictures, vocabulary = PictureCodes(catalog, parts.vision, parts.tokenizer), parts.vocabulary

    def loss(step: Rng) -> dict[str, torch.Tensor]:
        """Return the loss on a random item per user, predicted from other items of the user and its text."""
        random = step.numpy()
        shown = int(random.integers(config.images + 1))
        documents, answers = [], []
        for k in draw_rows(len(items), config.language_batch_size, random):
            target, *others = random.permutation(items[k]).tolist()
            history = [pictures.of(row) for row in others[:shown]]
            words = parts.text(prompt_of(catalog, target, config.prompt))
            given = (history, words) if random.random() >= config.drop else ([], [])
            documents.append(vocabulary.document(*given))
            answers.append(vocabulary.picture(pictures.of(target))[1:])
        return {"loss": answer_loss(parts.language, documents, answers)}

    return loss
