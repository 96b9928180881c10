"""Parts of LaVIT: what is kept, what of the rest arrives, how codes are learned, and what documents cost."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from generators.denoising import train
from generators.lavit.attention import attend, masked_softmax
from generators.lavit.codebook import Codebook
from generators.lavit.config import LaVITConfig
from generators.lavit.decoder import Decoder
from generators.lavit.language import Vocabulary, answer_loss, extended
from generators.lavit.selector import keep
from generators.lavit.tokenizer import Sizes, Tokenizer
from generators.lavit.training import reading_loss
from recsim_gen.core.randomness import Rng
from recsim_gen.core.training_loop import Schedule
from recsim_gen.testing import tiny_models

SIZES = Sizes(patches=9, width=16, heads=2, inner=24, blocks=2, codes=12, code_width=4)


@pytest.fixture
def tokenizer():
    torch.manual_seed(0)
    return tiny_models.lively(Tokenizer(SIZES), 2.0)


@pytest.fixture
def features():
    return torch.randn(3, 9, 16, generator=torch.Generator().manual_seed(1))


def test_a_patch_is_kept_as_often_as_its_probability_says():
    likely = torch.tensor([0.2, 0.5, 0.9, 1 - 1e-6])  # the last one: no picture is left without any
    both = torch.stack([likely, 1 - likely], dim=-1).log()
    kept = keep(both.expand(4000, 4, 2), Rng(0).torch())
    assert torch.allclose(kept.mean(0), likely, atol=0.03)


def test_a_picture_without_tokens_keeps_its_likeliest_patch():
    scores = torch.tensor([[[-30.0, 0.0], [-20.0, 0.0], [-25.0, 0.0]]])
    assert keep(scores, Rng(0).torch()).tolist() == [[0.0, 1.0, 0.0]]


def test_what_is_dropped_is_heard_by_what_is_kept(tokenizer, features):
    """By attention to dropped patches alone: other kept patches come after, or are not there."""
    kept = torch.zeros(3, 9)
    kept[:, 0] = 1
    changed = features.clone()
    changed[:, 5] = features[:, 6]
    one, other = (tokenizer.causal_encoder(x, kept)[:, 0] for x in (features, changed))
    assert (one - other).abs().max() > 1e-3


def test_kept_patches_hear_only_those_before_them(tokenizer, features):
    """Attention among kept patches is causal; the one that is dropped is the first, and the same for both."""
    kept = torch.ones(3, 9)
    kept[:, 0] = 0
    changed = features.clone()
    changed[:, 6] = features[:, 2]
    one, other = (tokenizer.causal_encoder(x, kept) for x in (features, changed))
    assert torch.allclose(one[:, :6], other[:, :6], atol=1e-3)  # of what is not allowed, a millionth is
    assert (one - other)[:, 6:].abs().amax((0, 2)).min() > 1e-2


def test_masked_weights_sum_to_one_and_leave_out_what_is_not_allowed():
    scores = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(0))
    allowed = torch.tensor([1.0, 0, 1, 1, 0])
    weights = masked_softmax(scores, allowed)
    assert torch.allclose(weights.sum(-1), torch.ones(2, 4))
    assert torch.allclose(weights[..., [0, 2, 3]], scores[..., [0, 2, 3]].softmax(-1), atol=1e-5)


def test_attention_does_not_care_how_often_all_keys_are_repeated():
    """What the states of a text are repeated by, to be held against those of the decoder."""
    q, k, v = (torch.randn(2, n, 8, generator=torch.Generator().manual_seed(n)) for n in (3, 5, 6))
    k, v = k[:, :5], v[:, :5]
    twice = torch.arange(10) % 5
    assert torch.allclose(attend(q, k, v, 2), attend(q, k[:, twice], v[:, twice], 2), atol=1e-6)


def test_the_selector_learns_from_what_is_drawn(tokenizer, features):
    """Gradients of what is decoded arrive at the scores by which patches are kept, and at the codes."""
    torch.manual_seed(2)
    decoder = Decoder(SIZES, 8)
    tokens = tokenizer(features, Rng(0).torch())
    decoder(tokens.vectors, tokens.present).square().sum().backward(retain_graph=True)
    assert tokenizer.token_predictor.out_conv[4].weight.grad.abs().sum() > 0
    tokens.loss.backward()
    assert tokenizer.quantize.embedding.weight.grad.abs().sum() > 0


def test_tokens_do_not_depend_on_the_pictures_beside(tokenizer, features):
    """With its own scores' chance: one picture alone, and filled up on the right beside longer ones."""
    kept = keep(tokenizer.token_predictor(features), Rng(0).torch())
    together = tokenizer(features, Rng(0).torch())
    alone = tokenizer.causal_encoder(features[1:2], kept[1:2])[kept[1:2].bool()]
    codes = tokenizer.quantize.nearest(tokenizer.encode_task_layer(alone))
    assert together.numbers[1][together.present[1]].tolist() == codes.tolist()
    assert together.present.sum(1).tolist() == kept.sum(1).tolist()


def test_codes_come_to_where_features_are():
    """Two clusters on a circle, twelve codes: each cluster ends with a code on it, and both are in use."""
    torch.manual_seed(0)
    book = Codebook(12, 2)
    points = F.normalize(torch.tensor([[1.0, 0.1], [-0.2, 1.0]]), dim=-1).repeat(8, 1)[None]
    optimiser = torch.optim.Adam(book.parameters(), lr=0.02)
    for _ in range(300):
        codes = book(points, torch.ones(1, 16, dtype=torch.bool))
        optimiser.zero_grad()
        codes.loss.backward()
        optimiser.step()
    assert torch.allclose(codes.vectors, points, atol=0.05)
    assert codes.numbers.unique().numel() == 2


def test_words_keep_their_rows_and_pictures_get_their_own(tmp_path):
    from transformers import LlamaForCausalLM

    tiny_models.save_llama(tmp_path)
    model = LlamaForCausalLM.from_pretrained(tmp_path)
    words = model.get_input_embeddings().weight.detach().clone()
    vocabulary = Vocabulary(len(words), 12)
    before = torch.get_rng_state()
    extended(model, vocabulary, Rng(0))
    table = model.get_input_embeddings().weight
    assert len(table) == len(vocabulary) == len(words) + 14
    assert torch.equal(table[: len(words)], words)
    assert torch.equal(torch.get_rng_state(), before)
    assert model.lm_head.out_features == len(vocabulary)


def test_the_loss_is_that_of_each_answer_alone(tmp_path):
    """Documents of several lengths in one batch: the mean over all tokens of answers, no fillers."""
    from transformers import LlamaForCausalLM

    tiny_models.save_llama(tmp_path)
    model = LlamaForCausalLM.from_pretrained(tmp_path).eval()
    documents, answers = [[5, 6, 7, 8], [9]], [[3, 1], [2, 7, 1]]
    got = answer_loss(model, documents, answers)
    losses = []
    for document, answer in zip(documents, answers, strict=True):
        logits = model(input_ids=torch.tensor([[*document, *answer]])).logits[0]
        for k, token in enumerate(answer):
            losses.append(-logits[len(document) - 1 + k].log_softmax(0)[token])
    assert torch.allclose(got, torch.stack(losses).mean(), atol=1e-6)


def test_codes_come_to_say_what_patches_show(monkeypatch):
    """Four kinds of pictures, whose patches differ in direction: codes lead to the states of their kind."""
    random = torch.Generator().manual_seed(0)
    kinds, states = torch.randn(4, 16, generator=random), torch.randn(4, 9, 8, generator=random)
    patches = kinds[torch.arange(80) % 4, None] + torch.randn(80, 9, 16, generator=random)
    torch.manual_seed(0)
    tokenizer, decoder = Tokenizer(SIZES), Decoder(SIZES, 8)
    parts = SimpleNamespace(
        vision=SimpleNamespace(features=lambda rows: patches[rows]),
        sampler=SimpleNamespace(
            states=lambda texts: states[[int(text) for text in texts]],
            worded=lambda texts: (torch.arange(9) < 4).expand(len(texts), 9),
        ),
        tokenizer=tokenizer,
        decoder=decoder,
    )
    monkeypatch.setattr("generators.lavit.training.image_of", lambda catalog, row: row)
    loss = reading_loss(parts, None, {row: str(row % 4) for row in range(60)}, LaVITConfig())
    model = nn.ModuleDict({"tokenizer": tokenizer, "decoder": decoder})
    train("lavit", model, loss, Schedule(200, 5e-3), data="", rng=Rng(0), work=None, tracker=None)
    with torch.no_grad():
        tokens = tokenizer(patches[60:], Rng(0).torch())  # of pictures that were not learned from
        decoded = decoder(tokens.vectors, tokens.present)
    nearest = torch.cdist(decoded.flatten(1), states.flatten(1)).argmin(1)
    assert (nearest == torch.arange(60, 80) % 4).float().mean() > 0.8
