"""Who subscribes to what in this process, and the fan-out to them. No transport is known here."""
