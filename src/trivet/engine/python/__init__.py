"""Python engines, each in a process of its own.

The worker's side: `process.py` (never waits, for any event loop) and `engine.py` (waits: the contract).
The child's side: `_host.py` and what it imports. Both: `messages.py`, `channel.py`, `slab.py`, `layout.py`.
This file imports nothing: the child starts faster and smaller for it.
"""
