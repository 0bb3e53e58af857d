"""The benchmark: the same recorded episodes under every configuration, costs and agreement side by side."""
