"""Makes other executable forms of a model: the same answers faster, or other answers at a price that is measured."""
