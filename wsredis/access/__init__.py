"""Which channels a browser requests, and which of them it is granted."""
