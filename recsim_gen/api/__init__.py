"""The library in one import: one function each for data, rankers, judges, images and experiments.

    import recsim_gen.api as rs

    data = rs.load_data("boutique")
    micro = rs.train_ranker("micro", data)
    images = rs.generate("sd", data, episodes=20)
    print(rs.judge(data, [micro], images))

Each function is a thin layer over the code behind the command of the same name. Both share one cache, so a
ranker or generator trained by either is loaded by the other. The API is a package of its own because the
commands are modules of ``recsim_gen`` with the same names. A function is imported on first access.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
