"""The broker interfaces inside one process: for tests, demos and development."""
