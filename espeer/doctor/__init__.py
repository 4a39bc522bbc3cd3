"""Looks for the usual faults of a node, and changes nothing."""
