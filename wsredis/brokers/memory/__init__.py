"""The twin of every broker interface inside one process: for tests, demos and development."""
