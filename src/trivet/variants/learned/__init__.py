"""Variants that answer differently because something was learned from the data: students, and models with fewer units."""
