"""The mathematics: pure functions on NumPy arrays. docs/method.md has the formulas and their sources."""
