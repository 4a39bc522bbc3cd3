"""How other programs talk to a running node."""
