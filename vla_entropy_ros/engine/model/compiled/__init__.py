"""Decoder passes and vision towers compiled from C, for CPUs."""
