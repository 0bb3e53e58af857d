"""The benchmark: the same recorded episodes under every configuration, costs and agreement side by side.

`recording` (episodes as files), `configurations` (what is compared), `generate` (transformers' own, over the same
weights), `measure` (replay and sum up), `ticks` (what the figures need of a tick), `paired` (one configuration against
another), `openvla` (costs at OpenVLA-7B's shape), `selection` (time of the choice alone), `tables` (tables, trade-offs,
picture), `knobs` and `knob_charts` (the default with one value turned at a time), `inspection` (pictures of why each
token was computed); `gpu`: a policy of a given shape with random weights on the device that is there; `peers`: a tick
beside what a user would run instead.
"""
