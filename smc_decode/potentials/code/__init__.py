"""Rewards for programs: tests, examples and input/output cases, run in the sandbox."""
