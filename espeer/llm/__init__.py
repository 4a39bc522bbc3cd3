"""The language model: what it must offer, the queue before it, llama.cpp behind it, and a fake for tests."""
