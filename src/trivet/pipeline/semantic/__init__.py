"""Which request may be answered with another's answer: decisions only. Vectors, indexes and models are in runtime/."""
