"""Item graphs: nearest neighbours, their exact change by one new image, and what is propagated on them."""
