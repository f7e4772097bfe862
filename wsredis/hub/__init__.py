"""The hub: subscribers and channels of this process, and the fan-out of messages to them."""
