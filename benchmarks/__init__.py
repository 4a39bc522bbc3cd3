"""What espeer costs and how good it is at finding, measured beside what it could have used instead."""
