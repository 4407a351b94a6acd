"""Processes for work that may hang or explode, each task with a time limit."""
