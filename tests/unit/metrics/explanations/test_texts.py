"""BLEU and ROUGE-L of captions, by hand."""

import numpy as np
import pytest

from recsim_gen.metrics.explanations.texts import bleu, rouge_l


def test_bleu_by_hand():
    """Four of five words, three of four pairs, two of three triples, one of two quadruples; equal lengths."""
    texts, references = ["a b c d e"], ["A b c d f"]
    assert bleu(texts, references) == pytest.approx((4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** (1 / 4), abs=1e-6)
    assert bleu(texts, references, words=1) == pytest.approx(4 / 5, abs=1e-6)


def test_what_is_too_short_pays_for_it():
    assert bleu(["a b"], ["a b c d"], words=1) == pytest.approx(np.exp(1 - 4 / 2), abs=1e-6)


def test_rouge_l_is_f1_of_the_longest_common_subsequence():
    found = rouge_l(["a b c", "Pink T-shirt.", "x"], ["a c d", "pink t shirt", "y"])
    assert found == pytest.approx([2 / 3, 1, 0])


def test_a_text_is_itself_and_nothing_of_another():
    texts = ["A plain red lamp with blue trim.", "For the home: a dotted mug in white and black."]
    assert bleu(texts, texts) == pytest.approx(1)
    assert rouge_l(texts, texts) == pytest.approx([1, 1])
    assert bleu(["nothing in common"], texts[:1]) == 0


def test_the_order_of_pairs_makes_no_difference():
    texts, references = ["a b c d", "e f", "a a b"], ["a b c e", "f e", "b a"]
    turned = [x[::-1] for x in (texts, references)]
    assert bleu(*turned, words=2) == pytest.approx(bleu(texts, references, words=2))
    assert rouge_l(*turned)[::-1] == pytest.approx(rouge_l(texts, references))
