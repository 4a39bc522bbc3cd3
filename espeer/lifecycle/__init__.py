"""The life of an experience: episodes, distillation, classification, and the prompts for them."""
