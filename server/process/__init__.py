"""The server as a process: starting, health, draining, and the command line's work."""
