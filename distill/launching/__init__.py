"""Processes: started together, ended together, and their place among each other."""
