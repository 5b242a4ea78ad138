"""Variants judged and timed, on parts of the data that do not overlap."""
