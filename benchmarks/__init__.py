"""Speed against other implementations: python -m benchmarks."""
