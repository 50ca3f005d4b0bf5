"""Apps written with Dapr's own SDKs, each a program that is run as it stands.

What they hear they keep, and tell by the method `heard`.
"""
