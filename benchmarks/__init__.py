"""Benchmarks: one file for each question; `python -m benchmarks` lists and runs them."""
