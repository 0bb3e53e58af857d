"""A tick on a CPU beside what a user would run instead: the same recorded images, one process, one thread.

`stepwise` (what every peer does: see, first pass, one row at a time), `graphs` (the network as functions of tensors,
for exporters), a file per kind of peer: `transformers_compile`, `onnx_runtime`, `open_vino` (`generate` lies one folder
up); `kinds` (all of them, and what one that cannot be had lacks), `ours` (the engine's rows), `replay` (image by image,
in turn), `report` (figures, table) and `picture`.
"""
