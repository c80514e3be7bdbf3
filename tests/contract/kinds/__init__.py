"""One module a kind of provider, each with its `SUBJECT`."""
