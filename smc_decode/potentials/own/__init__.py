"""Rewards of the operator's own: a Python function, a service behind HTTP."""
