"""From trials to a front, what each lever does, and a recommendation with its reasons."""
