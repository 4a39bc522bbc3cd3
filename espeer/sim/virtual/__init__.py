"""Fleets of the real node on a virtual clock: an in-memory network, and a model that only counts the time it would take."""
