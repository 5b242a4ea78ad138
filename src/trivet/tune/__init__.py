"""Searches for the best balance: space, screen by simulation, verify by live runs, front, recommendation."""
