"""Every encoder through the one suite; those of a hub as tiny random models of the same classes."""

from __future__ import annotations

import pytest

from recsim_gen.encoders.features import make_encoder
from recsim_gen.testing import tiny_models
from recsim_gen.testing.encoder_contract import ImageEncoderContract, TextEncoderContract


class TestWords(TextEncoderContract):
    @pytest.fixture(scope="class")
    def make(self):
        return lambda: make_encoder("words")


class TestPhrases(TextEncoderContract):
    @pytest.fixture(scope="class")
    def make(self):
        return lambda: make_encoder("phrases")


class TestBoutiqueClipImage(ImageEncoderContract):
    @pytest.fixture(scope="class")
    def make(self):
        return lambda: make_encoder("boutique-clip")


class TestPixels(ImageEncoderContract):
    @pytest.fixture(scope="class")
    def make(self):
        return lambda: make_encoder("pixels")


class TestMiniLM(TextEncoderContract):
    @pytest.fixture(scope="class")
    def make(self):
        return lambda: make_encoder("minilm")


class TestEfficientNet(ImageEncoderContract):
    @pytest.fixture(scope="class")
    def make(self):
        return lambda: make_encoder("efficientnet-lite0")


class TestEfficientNetLite2(ImageEncoderContract):
    @pytest.fixture(scope="class")
    def make(self):
        return lambda: make_encoder("efficientnet-lite2")


class _HuggingFaceClip:
    @pytest.fixture(scope="class")
    def make(self, tmp_path_factory):
        folder = tiny_models.save_clip(tmp_path_factory.mktemp("clip"))
        return lambda: make_encoder(f"hf:{folder}")


class TestHuggingFaceClipText(_HuggingFaceClip, TextEncoderContract):
    pass


class TestHuggingFaceClipImage(_HuggingFaceClip, ImageEncoderContract):
    pass


class TestHuggingFaceText(TextEncoderContract):
    @pytest.fixture(scope="class")
    def make(self, tmp_path_factory):
        folder = tiny_models.save_bert(tmp_path_factory.mktemp("bert"))
        return lambda: make_encoder(f"hf:{folder}")


class TestHuggingFaceImage(ImageEncoderContract):
    @pytest.fixture(scope="class")
    def make(self, tmp_path_factory):
        folder = tiny_models.save_vit(tmp_path_factory.mktemp("vit"))
        return lambda: make_encoder(f"hf:{folder}")


class _OpenClip:
    @pytest.fixture(scope="class")
    def make(self, tmp_path_factory):
        folder = tiny_models.save_open_clip(tmp_path_factory.mktemp("open_clip"))
        return lambda: make_encoder(f"open_clip:{folder}")


class TestOpenClipText(_OpenClip, TextEncoderContract):
    pass


class TestOpenClipImage(_OpenClip, ImageEncoderContract):
    pass
