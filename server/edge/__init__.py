"""Who may come in, how much, and for how long."""
