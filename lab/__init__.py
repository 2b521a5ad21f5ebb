"""A real DIRAC and real clouds on this machine, for the demo, the tests and the benchmarks."""
