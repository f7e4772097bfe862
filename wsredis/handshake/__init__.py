"""The opening handshake (RFC 6455 section 4.2): what a request must be, and what it is answered."""
