"""A chat without any framework."""
