"""The demo: a fleet of three devices, three real processes, one real model."""
