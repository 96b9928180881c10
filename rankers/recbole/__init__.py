"""The door to RecBole 1.2.1: our models in its `Trainer`, and its training of ours. Nothing else imports it.

It is an extra (``pip install 'recsim-gen[recbole]'``), for Python before 3.12.
"""
