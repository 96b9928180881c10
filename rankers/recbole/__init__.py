"""Adapter to RecBole 1.2.1: our models in its `Trainer`, and its training of ours.

No other package imports RecBole. An extra, ``pip install 'recsim-gen[recbole]'``, for Python before 3.12.
"""
