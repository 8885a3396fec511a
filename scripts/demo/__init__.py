"""The demo that scripts/demo.sh runs, and its local edge, which the tests and the benchmarks use too."""
