"""What is counted of requests that an authorization server was asked about.

Owns the names. Refuses to know when something is counted.
"""

from __future__ import annotations

from dataclasses import dataclass

from meshproxy.stats.store import Counter


@dataclass(slots=True)
class ExtAuthzStats:
    """`http.<stat_prefix>.ext_authz.[<stat_prefix of the filter>.]`"""

    denied: Counter
    disabled: Counter
    error: Counter
    failure_mode_allowed: Counter
    filter_state_name_collision: Counter
    ignored_dynamic_metadata: Counter
    invalid: Counter
    ok: Counter
    omitted_response_headers: Counter
    request_header_limits_reached: Counter
    response_header_limits_reached: Counter
    shadow_denied: Counter
    shadow_error: Counter
