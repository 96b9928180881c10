"""The text and image encoder of a family: a small CLIPModel, trained contrastively on a catalogue.

In a batch several texts can be true of one image, and one text of several images (a title leaves the second
colour out). Such pairs are not negatives: they are masked.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recsim_gen.core.randomness import Rng
from recsim_gen.core.store import atomic
from recsim_gen.core.training_loop import Schedule, fit, seeded
from recsim_gen.pretraining.saving import save_at_half
from recsim_gen.pretraining.tokens import clip_tokenizer
from recsim_gen.pretraining.wordings import Wording, item_sentences, wordings

if TYPE_CHECKING:
    import torch
    from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

    from recsim_gen.core.tracking import Tracker
    from recsim_gen.pretraining.source import PretrainingSource

FOLDER = "clip"
SCHEDULE = Schedule(steps=1500, lr=1e-3, warmup=60, weight_decay=0.1)
BATCH = 128
SENTENCES = 0.5  # share of sentences among the texts of a batch; the rest are titles and keywords
PATCH, WIDTH, PROJECTION = 8, 128, 128
TEXT_LAYERS, IMAGE_LAYERS = 2, 3
COLDEST = float(np.log(100))  # as in CLIP: the learned temperature is at least 1/100
MEASURED = 2000  # images of the train split for mean and deviation of pixels
AMONG = 1000  # most held-out images for retrieval


def pretrain(
    source: PretrainingSource,
    output: Path,
    *,
    rng: Rng,
    minutes: float | None = None,
    tracker: Tracker | None = None,
    schedule: Schedule = SCHEDULE,
) -> dict[str, Any]:
    """Train a ``CLIPModel`` on images and texts and write ``OUTPUT/clip``.

    Loss: symmetric InfoNCE with a learned temperature over batches of 128. Returns the losses, and for the
    test split ``recall_at_1`` and ``median_rank`` of text-to-image retrieval, with unique captions.
    """
    import torch

    forms = wordings(source)
    tokenizer = clip_tokenizer([text for form in forms for text in dict.fromkeys(form.texts)])
    processor = image_processor(source, rng.for_("pixels"))
    model = new_clip(tokenizer, source.images.shape[1], rng.for_("weights"))

    def loss(step: Rng) -> dict[str, torch.Tensor]:
        """Return the contrastive loss of a batch of images with randomly worded texts."""
        random = step.numpy()
        rows = source.draw(BATCH, random)
        texts, true = drawn_texts(forms, rows, random)
        words = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        similar = model(**words, pixel_values=normalised(source.pixels(rows), processor)).logits_per_text
        with torch.no_grad():
            model.logit_scale.clamp_(max=COLDEST)
        return {"loss": contrastive_loss(similar, true), "scale": model.logit_scale.exp()}

    fitted = fit(
        FOLDER,
        model,
        loss,
        schedule,
        output=output,
        data=source.fingerprint,
        rng=rng,
        minutes=minutes,
        tracker=tracker,
    )
    save(output / FOLDER, model, tokenizer, processor)
    rows, captions = unique_captions(source)
    place = text_to_image_ranks(model, tokenizer, processor, captions, source.pixels(rows))
    return {
        **fitted,
        "recall_at_1": round(float((place == 1).mean()), 4),
        "median_rank": float(np.median(place)),
        "among": len(rows),
    }


def new_clip(tokenizer: CLIPTokenizer, size: int, rng: Rng) -> CLIPModel:
    """Return an untrained CLIPModel for images of ``size``×``size``: 1.1 M parameters and its vocabulary."""
    from transformers import CLIPConfig, CLIPModel

    common = {"hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "num_attention_heads": 4}
    text = {
        **common,
        "num_hidden_layers": TEXT_LAYERS,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": tokenizer.model_max_length,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = {**common, "num_hidden_layers": IMAGE_LAYERS, "image_size": size, "patch_size": PATCH}
    with seeded(rng):
        return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=PROJECTION))


def image_processor(source: PretrainingSource, rng: Rng) -> CLIPImageProcessor:
    """Return a CLIPImageProcessor of the source's size, with mean and deviation of its pixels."""
    from transformers import CLIPImageProcessor

    size = source.images.shape[1]
    pixels = source.pixels(source.draw(MEASURED, rng.numpy()))
    mean, sd = pixels.mean((0, 2, 3)).tolist(), pixels.std((0, 2, 3)).tolist()
    return CLIPImageProcessor(
        size={"shortest_edge": size},
        crop_size={"height": size, "width": size},
        image_mean=[round(x, 4) for x in mean],
        image_std=[round(x, 4) for x in sd],
    )


def drawn_texts(
    forms: Sequence[Wording], rows: np.ndarray, random: np.random.Generator
) -> tuple[list[str], np.ndarray]:
    """Return a text for each of ``rows`` (B,), half of them sentences, and which texts fit which images.

    The second is (B, B) bool, text by image; its diagonal is True.
    """
    others = (1 - SENTENCES) / (len(forms) - 1)
    form = random.choice(len(forms), size=len(rows), p=[SENTENCES] + [others] * (len(forms) - 1))
    texts = [forms[f].texts[row] for f, row in zip(form, rows, strict=True)]
    meaning = np.stack([one.meaning[rows] for one in forms])  # (forms, B)
    return texts, meaning[form, np.arange(len(rows))][:, None] == meaning[form]


def contrastive_loss(similar: torch.Tensor, true: np.ndarray) -> torch.Tensor:
    """Return the symmetric InfoNCE of ``similar`` (B, B), text by image, with the pairs on the diagonal.

    Off-diagonal entries that are ``true`` (B, B) are excluded from both sums, since they are not negatives.
    Radford et al. 2021, Fig. 3, except for this mask.
    """
    import torch
    import torch.nn.functional as F

    left_out = torch.from_numpy(true & ~np.eye(len(true), dtype=bool)).to(similar.device)
    logits = similar.masked_fill(left_out, -torch.inf)
    pairs = torch.arange(len(logits), device=similar.device)
    return (F.cross_entropy(logits, pairs) + F.cross_entropy(logits.T, pairs)) / 2


def normalised(pixels: torch.Tensor, processor: CLIPImageProcessor) -> torch.Tensor:
    """Return ``pixels`` (B, 3, H, W) in [0, 1] minus the processor's mean, divided by its deviation."""
    mean, sd = (pixels.new_tensor(x)[:, None, None] for x in (processor.image_mean, processor.image_std))
    return (pixels - mean) / sd


def save(folder: Path, model: CLIPModel, tokenizer: CLIPTokenizer, processor: CLIPImageProcessor) -> None:
    """Save model, tokenizer and image processor in one folder, as ``hf:FOLDER`` and the loaders read it."""
    from transformers import CLIPProcessor

    with atomic(folder) as temporary:
        save_at_half(model, temporary)
        processor.save_pretrained(temporary)
        CLIPProcessor(processor, tokenizer).save_pretrained(temporary)


def unique_captions(source: PretrainingSource, split: str = "test") -> tuple[np.ndarray, list[str]]:
    """Return at most 1,000 rows of a split and their captions, without rows whose caption is not unique."""
    sentences = np.array(item_sentences(source))
    rows = source.rows(split)
    _, first, counts = np.unique(sentences[rows], return_index=True, return_counts=True)
    once = np.sort(first[counts == 1])[:AMONG]
    return rows[once], sentences[rows[once]].tolist()


def text_to_image_ranks(
    model: CLIPModel,
    tokenizer: CLIPTokenizer,
    processor: CLIPImageProcessor,
    texts: Sequence[str],
    pixels: torch.Tensor,
    *,
    batch: int = 250,
) -> np.ndarray:
    """Return (n,) the rank of image i among all n for text i by cosine; 1 is best, ties are averaged.

    ``pixels`` (n, 3, H, W) in [0, 1], of the model's size.
    """
    import torch
    import torch.nn.functional as F

    from recsim_gen.core.ranking import ranks

    images, words = [], []
    with torch.inference_mode():
        for start in range(0, len(texts), batch):
            part = slice(start, start + batch)
            shown = model.get_image_features(pixel_values=normalised(pixels[part], processor))
            tokens = tokenizer(list(texts[part]), padding=True, truncation=True, return_tensors="pt")
            images.append(F.normalize(shown.pooler_output, dim=1))
            words.append(F.normalize(model.get_text_features(**tokens).pooler_output, dim=1))
        scores = torch.cat(words) @ torch.cat(images).T
    return ranks(scores, torch.arange(len(texts)), torch.zeros_like(scores, dtype=torch.bool)).numpy()
