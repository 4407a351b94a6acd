"""The HTTP server and the command line of smc-decode. HTTP only: the mathematics is in ``smc_decode``."""
