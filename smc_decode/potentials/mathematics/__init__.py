"""Rewards for worked mathematics."""
