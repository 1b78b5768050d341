"""How good it is: metrics, the protocols that apply them, and reports to look at."""
