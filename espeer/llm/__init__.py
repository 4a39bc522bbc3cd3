"""Local language models: the engine that queues work for one, llama.cpp, and a fake for tests."""

import os

# llama.cpp's threads wait for each other some hundred times a token. Sleeping at once makes two threads slower than one, and
# spinning without a bound makes them slower by orders of magnitude as soon as the machine has other work. So they spin for some
# microseconds, then sleep: docs/models.md has the figures. The OpenMP runtime reads this when llama.cpp is first imported,
# which only modules of this package do.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("GOMP_SPINCOUNT", "3000")  # GCC's runtime; https://gcc.gnu.org/onlinedocs/libgomp/GOMP_005fSPINCOUNT.html
os.environ.setdefault("KMP_BLOCKTIME", "1")  # LLVM's, in milliseconds; it yields meanwhile, and llama.cpp would set 200
