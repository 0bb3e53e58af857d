"""Training of the small policy: demonstrations, network, trainer, export to the OpenVLA layout."""
