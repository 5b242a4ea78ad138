"""Models that other servers run. `client.py` has the sockets; what is said and read stands in `v2.py` and `openai.py`."""
