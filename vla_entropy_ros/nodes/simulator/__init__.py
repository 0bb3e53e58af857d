"""The simulator node: the simulated arm on ROS topics."""
