"""Tracing: trace context in the W3C's forms, spans, and where they are sent.

Owns all of it, without a library: what is needed of OpenTelemetry is one message and one header.
"""
