"""The policy node: images and an instruction in, action chunks out."""
