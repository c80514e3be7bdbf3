"""Clients other people wrote, beside our HTTP/2 client: `python -m benchmarks.peers`."""
