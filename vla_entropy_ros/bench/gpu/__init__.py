"""A policy of a given shape with random weights, on the device that is there: what a tick takes, row by row.

`shapes` (sizes, random weights, a moving scene), `run` (the rows; the baseline is `generate`, one folder up), `replay`
(how many drafts hold), `roofline` (what the device can do), `chart` (table and bars), `command` (all of it).
"""
