"""Rewards for the form of a text: JSON schemas and regular expressions."""
