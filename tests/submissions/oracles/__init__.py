"""Trajectories of the authors' own packages, and the script that makes them."""
