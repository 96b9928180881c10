"""Item graphs: nearest neighbours, their exact change by one new image, and propagation."""
