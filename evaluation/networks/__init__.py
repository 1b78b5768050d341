"""What metrics look through: pretrained networks, and what is told by their features."""
