"""The channels that a client requests, and the policy that grants them."""
