from hypothesis import settings

# The first example that needs scipy imports it, which takes longer than hypothesis' deadline.
settings.register_profile("judge", deadline=None, derandomize=True)
settings.load_profile("judge")
