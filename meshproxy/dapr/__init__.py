"""Dapr's building blocks: components, their lifecycle, and the API over them.

What Dapr does is said by its documentation and by daprd v1.18; names, texts and codes are verbatim.
"""
