"""The reference pages that are made from the code: `python -m docs.generate` writes them, a test compares them."""
