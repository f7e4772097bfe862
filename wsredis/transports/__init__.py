"""Transports: the common base of sockets that the hub writes to, and websockets."""
