"""The command node: action chunks in, commands inside limits out."""
