"""What is done with a picture before it is decoded."""
