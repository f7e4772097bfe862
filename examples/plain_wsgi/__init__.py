"""A chat without a framework."""
