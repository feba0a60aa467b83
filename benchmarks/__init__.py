"""How fast minicnn is, beside PyTorch and beside the limit of the machine. Run it with `python -m benchmarks`."""
