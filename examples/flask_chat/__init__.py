"""A chat in Flask, with logins: to everybody, one person, a group, or this browser only."""
