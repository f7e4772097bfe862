"""What a soak run is made of: its clients, what they may and must hear, its server, its verdict."""
