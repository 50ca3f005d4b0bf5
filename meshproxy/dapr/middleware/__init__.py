"""HTTP middleware of Dapr's pipelines: filters before the HTTP API, and before the app."""
