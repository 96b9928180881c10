"""Our models in plain RecBole 1.2.1, the public way, on the ml-100k of its wheel."""

import numpy as np
import pytest
import torch

from recsim_gen.core.errors import DataError
from recsim_gen.core.randomness import Rng
from recsim_gen.core.training_loop import seeded

pytestmark = pytest.mark.recbole


@pytest.fixture(autouse=True)
def _apart(apart):
    pass


def opened(model_class, settings):
    from recbole.config import Config
    from recbole.data import create_dataset

    config = Config(model=model_class, dataset="ml-100k", config_dict={"gpu_id": "", **settings})
    return config, create_dataset(config)


@pytest.mark.parametrize("name", ["MICRO", "LATTICE", "VBPR"])
def test_they_run_in_its_trainer_with_features_from_files(name, apart):
    from recbole.data import data_preparation
    from recbole.trainer import Trainer

    from rankers.recbole import models
    from rankers.recbole.guard import guarded

    draw = np.random.default_rng(0)
    ids = np.arange(1, 1683).astype(str)
    np.savez(apart / "text.npz", ids=ids[::-1], x=draw.standard_normal((1682, 16)))
    settings = {
        "item_features": {"text": str(apart / "text.npz")},
        "epochs": 2,
        "train_batch_size": 8192,
        "eval_batch_size": 200 * 1683,
        "embedding_size": 16,
        "learning_rate": 0.01,
        "metrics": ["Recall", "NDCG"],
        "topk": [20],
        "valid_metric": "NDCG@20",
        "train_neg_sample_args": {"distribution": "uniform", "sample_num": 1},
        "show_progress": False,
    }
    model_class = getattr(models, name)
    with guarded(0), seeded(Rng(0)):  # RecBole reads sys.argv, which is pytest's here, and patches numpy
        config, dataset = opened(model_class, settings)
        train, valid, test = data_preparation(config, dataset)
        model = model_class(config, train.dataset).to(config["device"])
        trainer = Trainer(config, model)
        _, best = trainer.fit(train, valid, saved=False, show_progress=False)
        # the best model would be read by torch.load without weights_only: refused since torch 2.6 (#2212)
        result = trainer.evaluate(test, load_best_model=False, show_progress=False)
    assert model.net.settings.embedding_size == 16
    assert best["ndcg@20"] > 0
    assert result["recall@20"] > 0.02  # chance: 20 of about 1,600 films, 0.012
    assert model.net.n_items == dataset.item_num - 1
    place = dataset.token2id("item_id", "50") - 1
    with np.load(apart / "text.npz") as file:
        own = file["x"][np.flatnonzero(file["ids"] == "50")[0]]
    look = model.net.modalities["text"]
    x = (look.x if name == "VBPR" else look.raw)[place].numpy()
    assert np.allclose(x, own / np.linalg.norm(own) if name == "VBPR" else own, atol=1e-6)


def test_scores_of_pairs_are_those_of_the_whole_table(apart):
    from recbole.data.interaction import Interaction

    from rankers.recbole.guard import guarded
    from rankers.recbole.models import MICRO

    np.savez(
        apart / "text.npz", ids=np.arange(1, 1683).astype(str), x=np.random.default_rng(0).random((1682, 4))
    )
    with guarded(0), seeded(Rng(0)):
        model = MICRO(*opened(MICRO, {"item_features": {"text": str(apart / "text.npz")}})).eval()
        users = torch.tensor([1, 4, 943])
        table = model.full_sort_predict(Interaction({"user_id": users})).view(3, 1683)
        items = torch.tensor([2, 1682, 7])
        pairs = model.predict(Interaction({"user_id": users, "item_id": items}))
    assert (table[:, 0] == -torch.inf).all()  # [PAD]
    assert torch.allclose(table[torch.arange(3), items], pairs, atol=1e-5)


def test_which_item_lacks_features_is_told(apart):
    from rankers.recbole.guard import guarded
    from rankers.recbole.models import MICRO

    np.savez(apart / "text.npz", ids=np.arange(1, 1000).astype(str), x=np.ones((999, 4)))
    with guarded(0):
        data = opened(MICRO, {"item_features": {"text": str(apart / "text.npz")}})
        with pytest.raises(DataError, match=r"features 'text' lack item '\d+' and 682 more"):
            MICRO(*data)
        data[0]["item_features"] = None
        with pytest.raises(DataError, match="MICRO needs item features of at least one modality, got none"):
            MICRO(*data)
