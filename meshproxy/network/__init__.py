"""Sockets and what goes with them: addresses, listeners, connections, tasks."""
