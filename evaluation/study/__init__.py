"""A preference study: which of two pictures do people choose?"""
