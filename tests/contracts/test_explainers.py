"""Every explainer of the registry: says what the protocol asks, of histories alone, with its real model."""

from __future__ import annotations

from dataclasses import replace

import pytest
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from recsim_gen.core.protocols import Explainer
from recsim_gen.core.registry import EXPLAINERS, resolve
from recsim_gen.core.types import Explanation
from recsim_gen.datasets.boutique.world import load
from recsim_gen.experiments.explanations.shop import Shop
from recsim_gen.models.family import open_family
from recsim_gen.testing.tiny_models import SIZE, bytes_tokenizer, lively

CHAT = (
    "{{ bos_token }}{% for turn in messages %}[{{ turn['role'] }}] {{ turn['content'] }}{% endfor %}"
    "{% if add_generation_prompt %} [assistant] {% endif %}"
)


def save_chat(folder):
    """A Llama of one layer with a chat template, which answers at random."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bytes_tokenizer("<s>", "</s>"), bos_token="<s>", eos_token="</s>", chat_template=CHAT
    )
    config = LlamaConfig(
        **SIZE, vocab_size=len(tokenizer), max_position_embeddings=2048, bos_token_id=0, eos_token_id=1
    )
    lively(LlamaForCausalLM(config)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def dataset():
    whole = load(n_items=100, n_users=40)
    return replace(whole, episodes=whole.episodes[:8])


@pytest.fixture(scope="module")
def families(tmp_path_factory):
    folder = tmp_path_factory.mktemp("family")
    save_chat(folder / "llm")
    embedded, chatty = open_family("embedded"), open_family(folder)
    return {name: chatty if name == "chat" else embedded for name in EXPLAINERS}


@pytest.fixture(params=EXPLAINERS)
def made(request, dataset, families):
    """An explainer, ready to be asked."""
    explainer_class = resolve(request.param, EXPLAINERS, "explainer")
    explainer_class.check(families[request.param])
    return explainer_class(Shop(dataset, families[request.param], attributes=2, device="cpu"))


def test_it_is_an_explainer_of_its_name(made):
    assert isinstance(made, Explainer)
    assert EXPLAINERS[made.name].endswith(f":{type(made).__name__}")


def test_it_explains_each_choice_by_its_history_alone(made, dataset):
    episodes = list(dataset.episodes)
    said = made.explain(episodes)
    assert len(said) == len(episodes)
    assert all(isinstance(one, Explanation) for one in said)
    for one in said:
        assert all(word == word.lower() and word in one.reason.lower() for word in one.named)
    strangers = [replace(e, id=f"x{k}", user=0, source_user="x") for k, e in enumerate(episodes)]
    assert made.explain(strangers) == said
    assert made.explain(episodes[::-1])[::-1] == said
    assert made.explain([]) == []


def test_a_prompt_goes_through_the_chat_template_once_and_keeps_the_latest_items(dataset, families):
    chat = resolve("chat", EXPLAINERS, "explainer")(Shop(dataset, families["chat"], device="cpu"))
    model, tokenizer = families["chat"].language_model(device="cpu")
    episode = max(dataset.episodes, key=lambda e: len(e.history))
    prompt = chat._prompt(episode, model, tokenizer)
    ids = AutoTokenizer.from_pretrained(families["chat"].folder("language_model"))(
        prompt, add_special_tokens=False
    )["input_ids"]
    assert ids.count(tokenizer.bos_token_id) == 1
    assert len(ids) <= 2048 - 160
    captions = dataset.catalog.captions
    assert f"- {captions[episode.history[-1]]}\n" in prompt
    assert f"- {captions[episode.history[0]]}\n" not in prompt
