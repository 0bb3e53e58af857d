"""Episodes in the simulator, through ROS topics or inside one process; records, live view, video."""
