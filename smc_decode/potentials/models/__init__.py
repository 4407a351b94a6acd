"""Rewards that a model gives: reward models, verifiers, the generator's own confidence."""
