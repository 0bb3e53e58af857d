"""The model families the engine can run: each turns a checkpoint folder into a Model."""
