"""The bridge to RecBole: its data loaders, trainer and models behind the `Ranker` protocol."""
