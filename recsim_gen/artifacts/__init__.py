"""Content-addressed cache of expensive results: trained rankers, trained generators, generated images."""
