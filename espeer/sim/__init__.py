"""Scenarios: fleets of real nodes that are put through something, and what they make of it."""
