"""What a decoder puts out, as actions."""
