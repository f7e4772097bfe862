"""A chat in Bottle, with sessions of Beaker."""
