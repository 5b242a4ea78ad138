"""Remembers: runs, their artifacts, the environment they ran in, and who did what.

`Catalog` (catalog.py) is the door; everything else in this folder stands behind it or fills what it records.
"""
