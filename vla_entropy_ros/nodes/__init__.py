"""The ROS 2 nodes: wiring between messages and the engine, the commander and the simulator."""
