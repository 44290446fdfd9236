"""The figures of docs/benchmarks.md: each module measures one, and runs on its own."""
