"""Reads mathematics as people write it: plain text, Unicode signs and LaTeX, alone or mixed. Imports nothing else of
the library, so that worker processes can have it too."""
