"""Contract suites for rankers, generators, data sets and encoders, also for user-defined ones.

A user-defined part is tested like those of the library, by a subclass that names it::

    from recsim_gen.testing import GeneratorContract, RankerContract, tiny

    class TestMine(RankerContract):
        spec = "mymodule:MyRanker"
        learns = False

    class TestMyPictures(GeneratorContract):
        name = "mymodule:MyGenerator"

``tiny`` is a fixture for generators: a small shop and models of a few thousand weights. ``worlds`` has data
sets whose correct answer is known, ``tiny_models`` random models that load within a second. All of it needs
pytest (extra ``testing``).
"""

import lazy_loader
import pytest

CONTRACTS = (
    "dataset_contract",
    "encoder_contract",
    "generator_contract",
    "ranker_contract",
    "subject_contract",
)

pytest.register_assert_rewrite(*(f"{__name__}.{name}" for name in CONTRACTS))

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
