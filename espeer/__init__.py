"""espeer: a language model on every device, and what one learns, all know."""
