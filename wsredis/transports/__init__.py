"""Sockets that are written to: what they share, and what a websocket adds."""
