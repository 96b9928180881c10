"""The family that ships: what its card says of the files holds, and every model of it works offline."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

import recsim_gen.models
from recsim_gen.core.randomness import Rng
from recsim_gen.datasets.boutique.attributes import Attributes, all_codes
from recsim_gen.datasets.boutique.drawing import render
from recsim_gen.models.family import open_family
from recsim_gen.models.language import answers
from recsim_gen.models.prompts import keywords_prompt, parse_keywords
from recsim_gen.pretraining.measuring import Sampling, as_pixels, drawn

FOLDER = Path(recsim_gen.models.__path__[0]) / "boutique"


@pytest.fixture(scope="module")
def family():
    return open_family("embedded")


def test_the_card_names_every_file_with_its_hash_and_all_stay_small():
    sums = (FOLDER / "CARD.md").read_text().split("```")[1].split()
    told = dict(zip(sums[1::2], sums[::2], strict=True))
    files = {str(f.relative_to(FOLDER)): f for f in FOLDER.rglob("*") if f.is_file() and f.name != "CARD.md"}
    assert {name: hashlib.sha256(f.read_bytes()).hexdigest() for name, f in files.items()} == told
    assert sum(f.stat().st_size for f in files.values()) < 25e6


def test_words_become_the_category_that_they_name(family):
    looks = [Attributes("hat", "pink", "blue", "plain"), Attributes("mug", "green", "white", "plain")]
    texts = [look.caption(0) for look in looks]
    pictures = drawn(family, texts, Sampling.of(family), rng=Rng(0))
    read = family.verifier().read(as_pixels(pictures)).codes
    assert read[:, 0].tolist() == [look.codes[0] for look in looks]


def test_glide_draws_the_category_that_it_is_told(family):
    looks = [Attributes("hat", "pink", "blue", "plain"), Attributes("mug", "green", "white", "plain")]
    pictures = family.glide().draw([look.caption(0) for look in looks], [Rng(0), Rng(1)])
    assert family.verifier().read(pictures).codes[:, 0].tolist() == [look.codes[0] for look in looks]


def test_the_language_model_names_what_a_caption_says(family):
    look = Attributes("dress", "red", "black", "dots")
    model, tokenizer = family.language_model()
    (answer,) = answers(model, tokenizer, [keywords_prompt(look.title, look.caption(1))])
    assert {"dress", "red", "black", "dots"} <= set(parse_keywords(answer) or [])


def test_a_caption_is_nearest_to_its_own_picture(family):
    looks = [
        Attributes.of(codes) for codes in (all_codes("hat")[7], all_codes("mug")[90], all_codes("bag")[300])
    ]
    encoder = family.image_encoder()
    pictures = unit(encoder.encode_images([render(look, Rng(1)) for look in looks]))
    words = unit(family.text_encoder().encode_texts([look.caption(2) for look in looks]))
    assert (words @ pictures.T).argmax(1).tolist() == [0, 1, 2]


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)
