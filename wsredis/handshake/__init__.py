"""The opening handshake (RFC 6455 section 4.2): checking the request and building the response."""
