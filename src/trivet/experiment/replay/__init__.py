"""Does a run come out again? Bundles, environments, and the checks that make a verdict."""
