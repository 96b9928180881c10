"""A catalogue's own CLIP: which pictures are no negatives, and who can read what it leaves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from recsim_gen.core.randomness import Rng
from recsim_gen.core.training_loop import Schedule
from recsim_gen.datasets.boutique.attributes import Attributes
from recsim_gen.datasets.boutique.world import load
from recsim_gen.encoders.features import make_encoder
from recsim_gen.pretraining import clip
from recsim_gen.pretraining.source import PretrainingSource
from recsim_gen.pretraining.tokens import clip_tokenizer
from recsim_gen.pretraining.wordings import item_keywords, wordings

BLUE, RED, MUG, OTHER = (
    Attributes("T-shirt", "pink", "blue", "stripes"),
    Attributes("T-shirt", "pink", "red", "stripes"),
    Attributes("mug", "green", "white", "dots"),
    Attributes("lamp", "black", "white", "checks"),
)


@pytest.fixture(scope="module")
def source():
    return of([BLUE, RED, MUG, OTHER] * 2, ["train"] * 4 + ["test"] * 4)


def of(looks, split):
    """A source with these looks, each in a colour of its own instead of a render."""
    codes = np.array([look.codes for look in looks])
    pixels = np.random.default_rng(0).integers(256, size=(len(looks), 1, 1, 3))
    return PretrainingSource(
        dataset=load(n_items=80, n_users=2),
        images=np.broadcast_to(pixels, (len(looks), 16, 16, 3)).astype(np.uint8),
        captions=[look.caption(i // 3) for i, look in enumerate(looks)],
        titles=[look.title for look in looks],
        categories=[look.category for look in looks],
        attributes=codes,
        split=np.array(split),
        rng=Rng(0),
    )


@pytest.fixture(scope="module")
def folder(source, tmp_path_factory):
    output = tmp_path_factory.mktemp("family")
    clip.pretrain(source, output, rng=Rng(0), schedule=Schedule(steps=2, lr=1e-3))
    return output / "clip"


def test_a_picture_that_the_text_is_true_of_is_no_negative():
    """Two pairs are equal: the perfect answer costs nothing, and ln 2 of a third if they were negatives."""
    similar = torch.tensor([[50.0, 50.0, 0.0], [50.0, 50.0, 0.0], [0.0, 0.0, 50.0]])
    true = similar.numpy() > 0
    assert clip.contrastive_loss(similar, true) == pytest.approx(0, abs=1e-6)
    assert clip.contrastive_loss(similar, np.eye(3, dtype=bool)) == pytest.approx(2 / 3 * np.log(2), abs=1e-6)


def test_masked_places_get_no_gradient_and_others_do():
    similar = torch.zeros(3, 3, requires_grad=True)
    true = np.eye(3, dtype=bool)
    true[0, 1] = True
    clip.contrastive_loss(similar, true).backward()
    assert similar.grad[0, 1] == 0
    assert (similar.grad[~torch.eye(3, dtype=torch.bool)] > 0).sum() == 5


def test_without_duplicates_it_is_the_loss_of_transformers(source):
    model = clip.new_clip(clip_tokenizer(source.captions), 16, Rng(0))
    words = torch.randint(0, 300, (7, 12), generator=torch.Generator().manual_seed(0))
    pixels = torch.randn(7, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    told = model(input_ids=words, pixel_values=pixels, return_loss=True)
    ours = clip.contrastive_loss(told.logits_per_text, np.eye(7, dtype=bool))
    assert ours.item() == pytest.approx(told.loss.item(), abs=1e-6)


def test_a_title_is_true_of_another_second_colour_and_a_caption_is_not(source):
    forms = wordings(source)
    by_title, by_caption = forms[1], forms[0]
    assert by_title.texts[0] == by_title.texts[1] == "Striped pink T-shirt"
    assert by_title.meaning[0] == by_title.meaning[1] != by_title.meaning[2]
    assert by_caption.meaning[0] != by_caption.meaning[1]
    assert by_caption.meaning[0] == by_caption.meaning[4]
    assert by_caption.texts[0] != by_caption.texts[4]  # another sentence about the same look
    assert "pink, stripes, T-shirt" in [form.texts[0] for form in forms]


def test_drawn_texts_are_true_of_their_own_picture(source):
    random = np.random.default_rng(0)
    rows = np.array([0, 1, 2, 3, 0, 1])
    seen = set()
    for _ in range(50):
        texts, true = clip.drawn_texts(wordings(source), rows, random)
        assert true.diagonal().all()
        assert not true[0, 2]
        assert true[0, 4]  # the same look
        if texts[0] == source.titles[0]:
            assert true[0, 1]
        if texts[0] == source.captions[0]:
            assert not true[0, 1]
        seen.add(texts[0])
    assert len(seen) == 5


def test_keywords_of_a_catalogue_without_attributes_are_its_content_words(source):
    import dataclasses

    films = dataclasses.replace(
        source,
        attributes=None,
        titles=["The Matrix"] * 8,
        captions=["A poster of a man with the green rain of code"] * 8,
        categories=["Action"] * 8,
    )
    assert item_keywords(films)[0] == ["Action", "matrix", "poster", "man", "green", "rain", "code"]


def test_the_folder_is_read_by_the_ordinary_loaders(folder, source):
    from transformers import AutoProcessor, CLIPModel

    model = CLIPModel.from_pretrained(folder, local_files_only=True)
    processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
    assert model.dtype == torch.float32
    assert model.config.text_config.max_position_embeddings == processor.tokenizer.model_max_length == 32
    picture = Image.fromarray(np.array(source.images[0]))
    words = processor(text=["pink, stripes, T-shirt"], images=picture, return_tensors="pt")
    assert model(**words).logits_per_text.shape == (1, 1)
    seen = processor.image_processor(picture, return_tensors="pt")["pixel_values"]
    trained = clip.normalised(source.pixels(np.array([0])), processor.image_processor)
    assert torch.allclose(seen, trained, atol=1e-5)  # what is encoded later is what was trained on


def test_the_encoder_of_the_commands_reads_it(folder, source):
    encoder = make_encoder(f"hf:{folder}")
    assert encoder.encode_texts(["a pink T-shirt", "猫"]).shape == (2, 128)
    picture = Image.fromarray(np.array(source.images[0]))
    assert encoder.encode_images([picture]).shape == (1, 128)


def test_captions_that_stand_twice_are_left_out_of_retrieval():
    four = of([BLUE, BLUE, RED, MUG], ["test", "test", "test", "train"])
    object.__setattr__(four, "captions", ["same", "same", "other", "train"])
    rows, captions = clip.unique_captions(four)
    assert rows.tolist() == [2]
    assert captions == ["other"]
