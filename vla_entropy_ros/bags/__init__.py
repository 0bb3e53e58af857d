"""Bags (rosbag2, mcap) without rosbag2: record a robot or the simulator, replay a camera through the policy."""
