"""A chat with rooms in Flask: one websocket in several rooms, events and acknowledgements."""
