"""Access logs, their filters and formats. Data only."""

from __future__ import annotations

from typing import Final

from meshproxy.config.supported_fields.packages import CORE, LOG, LOGGERS

FIELDS: Final[dict[str, str]] = {
    LOG + "AccessLog": "name filter typed_config",
    LOG + "AccessLogFilter": (
        "status_code_filter duration_filter not_health_check_filter runtime_filter and_filter"
        " or_filter header_filter response_flag_filter log_type_filter"
    ),
    LOG + "StatusCodeFilter": "comparison",
    LOG + "DurationFilter": "comparison",
    LOG + "ComparisonFilter": "op value",
    LOG + "NotHealthCheckFilter": "",
    LOG + "RuntimeFilter": "runtime_key percent_sampled use_independent_randomness",
    LOG + "AndFilter": "filters",
    LOG + "OrFilter": "filters",
    LOG + "HeaderFilter": "header",
    LOG + "ResponseFlagFilter": "flags",
    LOG + "LogTypeFilter": "types exclude",
    CORE + "RuntimeUInt32": "default_value runtime_key",
    CORE + "RuntimeDouble": "default_value runtime_key",
    LOGGERS + "file.v3.FileAccessLog": "path format json_format typed_json_format log_format",
    LOGGERS + "stream.v3.StdoutAccessLog": "log_format",
    LOGGERS + "stream.v3.StderrAccessLog": "log_format",
    LOGGERS + "wasm.v3.WasmAccessLog": "config",
    CORE + "SubstitutionFormatString": (
        "text_format json_format text_format_source omit_empty_values"
    ),
}
