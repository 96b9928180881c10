"""Prompts, what is a right answer to them, and a language model that learns to give it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recsim_gen.core.randomness import Rng
from recsim_gen.core.training_loop import Schedule
from recsim_gen.datasets.boutique.attributes import Attributes
from recsim_gen.datasets.boutique.world import load
from recsim_gen.models.language import answers
from recsim_gen.models.prompts import favourites, keywords_line, keywords_prompt, parse_keywords, taste_prompt
from recsim_gen.pretraining import language
from recsim_gen.pretraining.instruction_data import InstructionData, equally_liked
from recsim_gen.pretraining.language import attribute_recall, instruction_loss, malformed, taste_recall
from recsim_gen.pretraining.source import PretrainingSource
from recsim_gen.pretraining.tokens import llama_tokenizer

LOOKS = [
    Attributes("T-shirt", "pink", "blue", "stripes"),
    Attributes("mug", "green", "white", "dots"),
    Attributes("lamp", "black", "red", "checks"),
    Attributes("hat", "pink", "white", "plain"),
]
WORD = st.text("abcdefghijklmnopqrstuvwxyzäé猫'-", min_size=1, max_size=8).filter(lambda w: w[0] not in "-'")
KEYWORD = st.lists(WORD, min_size=1, max_size=5).map(" ".join)


@pytest.fixture(scope="module")
def source():
    return PretrainingSource(
        dataset=load(n_items=80, n_users=2),
        images=np.zeros((8, 8, 8, 3), dtype=np.uint8),
        captions=[look.caption(0) for look in LOOKS] * 2,
        titles=[look.title for look in LOOKS] * 2,
        categories=[look.category for look in LOOKS] * 2,
        attributes=np.array([look.codes for look in LOOKS] * 2),
        split=np.repeat(["train", "test"], 4),
        rng=Rng(0),
    )


@given(st.lists(KEYWORD, min_size=1, max_size=20, unique_by=str.lower))
def test_reading_undoes_writing(keywords):
    assert parse_keywords(keywords_line(keywords)) == keywords
    assert parse_keywords("\n".join(f"{i}. {word}" for i, word in enumerate(keywords, 1))) == keywords


@given(st.text(max_size=60))
def test_whatever_the_answer_keywords_are_clean_or_none(text):
    keywords = parse_keywords(text)
    if keywords is not None:
        assert 1 <= len(keywords) <= 20
        assert all(word == word.strip() and word for word in keywords)
        assert len({word.lower() for word in keywords}) == len(keywords)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "  \n",
        "pink,, mug",
        "pink, ",
        "pink\nmug",
        "Sure! Here are the keywords that describe this product: pink",
        ", ".join(f"word{i}" for i in range(21)),
    ],
)
def test_malformed_answers(answer):
    assert parse_keywords(answer) is None


def test_answers_are_read_kindly():
    assert parse_keywords(" T-shirt, pink,  Pink, blue stripes.\n") == ["T-shirt", "pink", "blue stripes"]
    assert parse_keywords("- pink\n- mug") == ["pink", "mug"]


def test_prompts_are_one_line_per_item_whatever_the_text():
    prompt = keywords_prompt("A\nTitle: forged", "x\n\ny")
    assert prompt.splitlines()[1:] == ["Title: A Title: forged", "Description: x y", "Keywords:"]
    assert taste_prompt([["mug", "pink"], ["a\nb"]]).splitlines()[1:] == [
        "- mug, pink",
        "- a b",
        "They like:",
    ]


def test_taste_is_the_most_frequent_value_of_each_attribute():
    history = [
        ["mug", "pink", "blue", "dots"],
        ["hat", "pink", "red", "plain"],
        ["mug", "green", "red", "plain"],
        ["bag", "pink", "white", "plain"],
    ]
    assert favourites(history, aligned=True) == ["mug", "pink", "red", "plain"]
    assert favourites(history[::-1], aligned=True) == ["mug", "pink", "red", "plain"]
    assert favourites([["mug", "red"], ["hat", "blue"]], aligned=True) == ["hat", "blue"]  # the latest
    assert equally_liked([["mug", "red"], ["hat", "red"]], aligned=True) == [{"mug", "hat"}, {"red"}]


def test_taste_never_names_a_colour_twice():
    """Pink is the most frequent colour of both kinds."""
    history = [["pink", "blue"], ["red", "pink"], ["pink", "red"], ["red", "pink"], ["pink", "green"]]
    history += [["green", "pink"], ["pink", "blue"]]
    assert favourites(history, aligned=True) == ["pink", "blue"]


def test_taste_of_words_without_order_is_the_most_frequent_five():
    history = [["a", "b", "c"], ["b", "d", "e", "f"], ["b", "c"]]
    assert favourites(history, aligned=False) == ["b", "c", "f", "e", "d"]
    assert equally_liked(history, aligned=False)[2] == {"a", "d", "e", "f"}


def test_histories_lean_towards_two_keywords(source):
    lessons = InstructionData(source, source.rows("train"))
    random = np.random.default_rng(0)
    histories = [lessons.history(20, random) for _ in range(40)]
    assert {row for history in histories for row in history} == {0, 1, 2, 3}  # train rows, all of them
    largest = [np.bincount(history).max() for history in histories]
    assert np.mean(largest) > 9  # 8 on average were each row equally likely


def test_shares_by_hand():
    wanted = [["mug", "pink"], ["hat", "red"], ["bag", "blue"]]
    told = ["Mug, pink", "hat, green", "bag blue bag blue bag blue"]
    assert attribute_recall(told, wanted) == 3 / 6
    assert malformed(told) == pytest.approx(1 / 3)
    assert taste_recall(["mug, red"], [[{"mug"}, {"pink", "red"}, {"blue"}]]) == pytest.approx(2 / 3)


def test_each_token_counts_once_whatever_stands_beside_it(source):
    lessons = InstructionData(source, source.rows("train"))
    pairs = [lessons.item(0), lessons.taste([0, 1, 2])]  # of different lengths: padding
    tokenizer = llama_tokenizer([" ".join(pair) for pair in pairs])
    model = language.new_llama(tokenizer, Rng(0)).eval()
    with torch.no_grad():
        alone = np.array([[x.item() for x in instruction_loss(model, tokenizer, [pair])] for pair in pairs])
        together = [x.item() for x in instruction_loss(model, tokenizer, pairs)]
        tokens = [*tokenizer(" ".join(pairs[0]))["input_ids"], tokenizer.eos_token_id]
        told = model(torch.tensor([tokens[:-1]])).logits[0].log_softmax(-1)
    asked = [len(tokenizer(prompt)["input_ids"]) for prompt, _ in pairs]
    answered = [len(tokenizer(" " + answer)["input_ids"]) for _, answer in pairs]  # start in, end out
    assert together[0] == pytest.approx(np.average(alone[:, 0], weights=answered), rel=1e-4)
    assert together[1] == pytest.approx(np.average(alone[:, 1], weights=np.array(asked) - 1), rel=1e-4)
    by_hand = -told.gather(1, torch.tensor(tokens[1:])[:, None])[:, 0]
    assert alone[0, 0] == pytest.approx(by_hand[-answered[0] :].mean().item(), rel=1e-4)
    assert alone[0, 1] == pytest.approx(by_hand[: -answered[0]].mean().item(), rel=1e-4)


def test_it_learns_four_items_by_heart_and_is_loaded_as_it_was(source, tmp_path, monkeypatch):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tiny = {"BATCH": 4, "TASTES": 4, "LAYERS": 2, "WIDTH": 96, "HEADS": 3, "FEED_FORWARD": 192}
    for name, value in tiny.items():
        monkeypatch.setattr(language, name, value)
    schedule = Schedule(steps=110, lr=5e-3, warmup=5)
    measured = language.pretrain(source, tmp_path, rng=Rng(0), schedule=schedule)
    assert measured["attribute_recall"] == 1  # the items of the test split look alike
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "llm", local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "llm", local_files_only=True)
    assert model.dtype == torch.float32
    prompts = [InstructionData(source, source.rows("test")).item(row)[0] for row in range(4)]
    told = answers(model, tokenizer, prompts)
    assert [parse_keywords(answer) for answer in told] == [
        [look.category, look.main, look.second, look.pattern] for look in LOOKS
    ]
    assert told == [answers(model, tokenizer, [prompt])[0] for prompt in prompts]
