"""The documentation, and in `generate` what makes its reference from the code."""
