"""Local language models: the engine that queues work for one, llama.cpp, and a fake for tests."""

import os

# llama.cpp's threads wait for each other by spinning, which is at its best when nothing else runs. A node shares its machine:
# with one other busy process on two cores, spinning gave 4 to 15 tokens a second, sleeping 23 to 31. The OpenMP runtime reads
# this when llama.cpp is first imported, which only modules of this package do.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
