"""The parts of a soak run: its clients, the checker of their messages, its server, its verdict."""
