"""Active health checks: asking every host of a cluster, again and again, whether it is well."""
