"""What people give, checked and told in a sentence."""
