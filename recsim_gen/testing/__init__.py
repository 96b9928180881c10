"""What every ranker, generator, data set and encoder must hold, as suites that one's own are tested by.

A part outside the library is tested as the library's are, by a subclass that says where it is::

    from recsim_gen.testing import GeneratorContract, RankerContract, tiny

    class TestMine(RankerContract):
        spec = "mymodule:MyRanker"
        learns = False

    class TestMyPictures(GeneratorContract):
        name = "mymodule:MyGenerator"

``tiny`` is a fixture that generators need: a small shop and models of a few thousand weights. ``worlds`` are
data whose right answer is known, ``tiny_models`` random models that load in a second. All of it needs pytest
(extra ``testing``).
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
