"""The panel "VLA policy": what a policy does, and its knobs, in a window of Qt; beside the demo or in rqt."""
