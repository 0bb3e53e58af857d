"""How rows are run through the decoder: sequence, K/V cache, passes."""
