"""A chat in Flask, with logins: to all users, one user, a group, or this browser only."""
