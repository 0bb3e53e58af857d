"""A policy of a given shape with random weights, on the device that is there: what a tick takes, row by row.

`shapes` (sizes, random weights, a moving scene), `plain` (the baseline), `run` (the rows), `replay` (how many drafts
hold), `roofline` (what the device can do), `chart` (table and bars), `command` (all of it).
"""
