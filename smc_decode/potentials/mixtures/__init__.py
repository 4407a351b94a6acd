"""Rewards made of others: ensembles, their weights, agreement across the population."""
