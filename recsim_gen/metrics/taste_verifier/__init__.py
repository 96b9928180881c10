"""Would this user like this picture? A small classifier per data set: metric, settings, training."""
