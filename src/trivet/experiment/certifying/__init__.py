"""Losses of cascades, routes and stand-ins, measured on labelled rows and certified."""
