"""Which visual tokens a tick computes: the method, and all that it remembers."""
