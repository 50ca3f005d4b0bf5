"""Clusters: their hosts, how one is chosen, and how it is reached."""
