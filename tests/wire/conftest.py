from hypothesis import settings

# No limit on one example's time: it would fail on a machine that is busy with something else.
settings.register_profile("wire", deadline=None, derandomize=True)
settings.load_profile("wire")
