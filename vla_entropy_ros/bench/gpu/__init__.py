"""A policy of a given shape with random weights, on the device that is there: what a tick takes, row by row."""
