"""Answers computed before anybody asks: a job over many inputs, and the table it publishes."""
