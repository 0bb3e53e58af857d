"""A policy of a given shape with random weights, on the device that is there: what a tick takes, row by row.

`rows` (the table of what is measured), `shapes` (sizes, random weights, a moving scene), `run` (the rows in turn; the
baseline is `generate`, one folder up), `check` (against an eager twin; `across`: on the CPU), `figures`, `passes` (what
a row costs), `parts` (what those of a layer do), `launches` (kernels by stage, a profile), `replay` (how many drafts
hold; `trained`: what near ties cost), `roofline` (what the device can do), `machine` (what it is), `chart` (table and
pictures), `command` (all of it).
"""
