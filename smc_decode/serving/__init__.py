"""Whole replicas of the server in somebody else's cluster."""
