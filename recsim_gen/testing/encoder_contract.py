"""Contract of encoders; test a new one by a subclass with a fixture ``make``."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from recsim_gen.core.protocols import ImageEncoder, TextEncoder

TEXTS = [
    "a red shirt with white stripes",
    "shirt",
    "The Godfather (1972). Crime, Drama. " * 12,
    "Ænima — ‘L’été’ 夏",
    "a",
    "$ …",
    "a blue armchair; a blue armchair",
]


def pictures() -> list[Image.Image]:
    """Return images of several sizes and shapes, one of a single colour."""
    drawn = [Image.new("RGB", (48, 48), "white")]
    sizes = [(64, 64), (86, 128), (128, 86), (31, 30), (224, 224)]
    for i, (size, colour) in enumerate(zip(sizes, ["red", "navy", "gold", "green", "black"], strict=True)):
        image = Image.new("RGB", size, "lightgrey")
        w, h = size
        ImageDraw.Draw(image).ellipse([w * 0.1 * i, h * 0.2, w * 0.8, h * 0.9], fill=colour, outline="brown")
        drawn.append(image)
    return drawn


class _Laws:
    """Laws of a function from a list of inputs to rows of features."""

    inputs: list

    def encode(self, encoder, inputs) -> np.ndarray:
        raise NotImplementedError

    @pytest.fixture(scope="class")
    def together(self, encoder) -> np.ndarray:
        return self.encode(encoder, self.inputs)

    def test_rows_are_finite_float32(self, together):
        assert together.dtype == np.float32
        assert together.ndim == 2
        assert len(together) == len(self.inputs)
        assert np.isfinite(together).all()
        assert together.any(1).all()

    def test_batch_size_does_not_matter(self, encoder, together):
        alone = np.concatenate([self.encode(encoder, [x]) for x in self.inputs])
        np.testing.assert_allclose(alone, together, atol=1e-5 * max(1, np.abs(together).max()))

    def test_order_does_not_matter(self, encoder, together):
        order = np.random.default_rng(0).permutation(len(self.inputs))
        again = self.encode(encoder, [self.inputs[i] for i in order])
        np.testing.assert_allclose(again, together[order], atol=1e-5 * max(1, np.abs(together).max()))

    def test_different_inputs_differ(self, together):
        gaps = np.abs(together[:, None] - together[None]).max(-1)
        assert gaps[~np.eye(len(gaps), dtype=bool)].min() > 1e-4

    def test_global_randomness_is_left_alone(self, make):
        import torch

        def state():
            numpy_state = np.random.get_state()[1]  # noqa: NPY002 (the global stream is the point)
            return numpy_state.tolist(), torch.get_rng_state().tolist()

        before = state()
        self.encode(make(), self.inputs[:2])
        assert state() == before

    def test_two_of_a_kind_agree(self, encoder, make, together):
        other = make()
        assert other.fingerprint == encoder.fingerprint
        np.testing.assert_array_equal(self.encode(other, self.inputs), together)

    @pytest.fixture(scope="class")
    def encoder(self, make):
        return make()


class TextEncoderContract(_Laws):
    """Contract of text encoders.

    Subclasses define a fixture ``make`` of class scope: a function that returns a new encoder.
    """

    inputs = TEXTS

    def encode(self, encoder, inputs):
        return encoder.encode_texts(inputs)

    def test_is_a_text_encoder(self, encoder):
        assert isinstance(encoder, TextEncoder)


class ImageEncoderContract(_Laws):
    """Contract of image encoders.

    Subclasses define a fixture ``make`` of class scope: a function that returns a new encoder.
    """

    inputs = pictures()

    def encode(self, encoder, inputs):
        return encoder.encode_images(inputs)

    def test_is_an_image_encoder(self, encoder):
        assert isinstance(encoder, ImageEncoder)
