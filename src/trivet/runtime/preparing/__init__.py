"""Preparing a configuration, off the loop: engines, profiles, checks, and what `auto` becomes."""
