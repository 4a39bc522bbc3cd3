"""The `espeer` command."""
