"""Measurements of the road: each module prints its figures."""
