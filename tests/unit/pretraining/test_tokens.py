"""Tokenizers of a catalogue's own text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, CLIPTokenizer

from recsim_gen.pretraining.tokens import clip_tokenizer, llama_tokenizer

CAPTIONS = ["A pink T-shirt with stripes, a piece of clothing.", "For the home: a plain blue mug."] * 20
ANY_STRING = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="<>"), max_size=40)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    clip_tokenizer(CAPTIONS).save_pretrained(folder)
    return CLIPTokenizer.from_pretrained(folder, local_files_only=True)


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    folder = tmp_path_factory.mktemp("llama")
    llama_tokenizer(CAPTIONS).save_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


@settings(max_examples=200, deadline=None)
@given(ANY_STRING)
def test_llama_gives_back_every_string_as_it_was(llama, text):
    assert llama.decode(llama(text)["input_ids"], skip_special_tokens=True) == text


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(categories=["Ll", "Nd", "So", "Lo"]), max_size=20))
def test_clip_knows_every_letter(clip, text):
    """Lower case and white space are lost on purpose, and NFC joins accents; nothing else is."""
    told = clip.decode(clip(text, truncation=False)["input_ids"], skip_special_tokens=True)
    wanted = clip.backend_tokenizer.normalizer.normalize_str(text)
    assert told.replace(" ", "") == wanted.replace(" ", "")


def test_a_word_of_the_catalogue_is_one_token_and_another_is_bytes(clip, llama):
    assert clip.tokenize("pink stripes") == ["pink</w>", "stripes</w>"]
    assert llama.tokenize(" pink stripes") == ["Ġpink", "Ġstripes"]
    assert len(clip.tokenize("猫")) == 3
    assert clip.unk_token_id not in clip("猫 zzz")["input_ids"][1:-1]


def test_clip_pads_as_stable_diffusion_does(clip):
    words = clip("a pink mug", padding="max_length")
    assert len(words["input_ids"]) == clip.model_max_length == 32
    assert words["input_ids"][0] == clip.bos_token_id
    assert words["input_ids"][4:] == [clip.eos_token_id] * 28
    assert clip.pad_token_id == clip.eos_token_id


def test_long_texts_get_more_room_up_to_77():
    assert clip_tokenizer(["pink mug " * 20]).model_max_length == 64  # 42 tokens, and half as much again
    assert clip_tokenizer(["pink mug " * 100]).model_max_length == 77


def test_llama_pads_on_the_left_for_generation(llama):
    pink, mug = llama(["pink", "pink mug"], padding=True)["input_ids"]
    assert pink[0] == llama.pad_token_id
    assert pink[1] == mug[0] == llama.bos_token_id
