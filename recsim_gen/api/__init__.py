"""The library in one import: data, rankers, judges, pictures, experiments, each a function.

    import recsim_gen.api as rs

    data = rs.load_data("boutique")
    micro = rs.train_ranker("micro", data)
    pictures = rs.generate("sd", data, episodes=20)
    print(rs.judge(data, [micro], pictures))

Each is a few lines over what the commands use, keeps what it trains and draws where they do, and finds
there what they trained and drew. It is a package of its own because commands are files of ``recsim_gen`` by
the same names. Nothing is imported before it is asked for.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
