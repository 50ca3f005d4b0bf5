"""`AccessLog` messages to a path, a compiled line and a filter.

Owns the forms in which a format can be given. Refuses to open files: the server turns each
`AccessLogConfig` into an `AccessLog` with the sink of its path.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from meshproxy.config.context import BuildContext
from meshproxy.config.document import At
from meshproxy.config.matching import build_header
from meshproxy.config.reading import data_source, enum_name, plain
from meshproxy.config.runtime import denominator
from meshproxy.config.wasm import build_plugin
from meshproxy.errors import Code
from meshproxy.http import access_log
from meshproxy.http.access_log import AccessLogFilter
from meshproxy.http.formatter import DEFAULT_FORMAT, FormatError, compile_format, compile_json
from meshproxy.http.log_file import STDERR, STDOUT
from meshproxy.http.stream_info import SHORT_FLAGS, StreamInfo
from meshproxy.proxy_wasm.config import PluginConfig
from meshproxy.upstream.load_balancer import random_bits

Render = Callable[[StreamInfo], bytes]

_WASM: Final = "envoy.extensions.access_loggers.wasm.v3.WasmAccessLog"
_FILE: Final = "envoy.extensions.access_loggers.file.v3.FileAccessLog"
_STREAMS: Final = {
    "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog": STDOUT,
    "envoy.extensions.access_loggers.stream.v3.StderrAccessLog": STDERR,
}
_FLAG_BITS: Final = {text: int(flag) for flag, text in SHORT_FLAGS.items()}


@dataclass(frozen=True, slots=True)
class AccessLogConfig:
    """One access log: where it goes, the line of a stream, and which streams (None: all)."""

    path: str
    render: Render
    passes: AccessLogFilter | None = None


@dataclass(frozen=True, slots=True)
class WasmAccessLogConfig:
    """An access log that is a Proxy-Wasm plugin."""

    name: str
    plugin: PluginConfig
    passes: AccessLogFilter | None = None


AnyAccessLogConfig = AccessLogConfig | WasmAccessLogConfig


def build_access_logs(logs: Sequence[At], context: BuildContext) -> tuple[AnyAccessLogConfig, ...]:
    """The access logs; one with an error is noted and left out."""
    built = [AccessLogBuilder(context).access_log(at) for at in logs]
    return tuple(each for each in built if each is not None)


class AccessLogBuilder:
    """Builds one access log."""

    def __init__(self, context: BuildContext) -> None:
        self._context = context
        self._problems = context.problems

    def access_log(self, at: At) -> AnyAccessLogConfig | None:
        """The access log, None where it is not supported or has an error."""
        condition = at.one("filter")
        passes = self._filter(condition) if condition is not None else None
        if not at.has("typed_config"):
            at.error(self._problems, Code.REQUIRED, "the field 'typed_config' is required")
        logger = at.unpack("typed_config")
        if logger is None:
            return None
        if logger.type_name == _WASM:
            plugin = build_plugin(logger, self._problems)
            return WasmAccessLogConfig(at.message.name, plugin, passes) if plugin else None
        path = logger.message.path if logger.type_name == _FILE else _STREAMS.get(logger.type_name)
        if path is None:
            return None
        if logger.type_name == _FILE and not Path(path).parent.is_dir():
            text = f"'{path}' cannot be opened: its folder is not there"
            logger.error(self._problems, Code.INVALID, text, "path")
        render = self._render(logger)
        return AccessLogConfig(path, render, passes) if render is not None else None

    # ---- the line

    def _render(self, at: At) -> Render | None:
        kind = at.message.WhichOneof("access_log_format")
        if kind == "log_format":
            inside = at.one(kind)
            assert inside is not None
            return self._substitution(inside)
        if kind == "format":
            return self._text(at, kind, at.message.format or DEFAULT_FORMAT, omit=False)
        if kind is not None:
            return self._json(at, kind, omit=False)
        return access_log.text_line(compile_format(DEFAULT_FORMAT))

    def _substitution(self, at: At) -> Render | None:
        message = at.message
        kind = message.WhichOneof("format")
        omit = message.omit_empty_values
        if kind == "json_format":
            return self._json(at, kind, omit=omit)
        if kind == "text_format":
            return self._text(at, kind, message.text_format, omit=omit)
        source = at.one("text_format_source")
        data = data_source(source, self._problems) if source is not None else None
        if source is None or data is None:
            return None
        text = data.decode("utf-8", "surrogateescape")
        field = "inline_string" if source.message.inline_string else "filename"
        return self._text(source, field, text, omit=omit)

    def _text(self, at: At, field: str, text: str, *, omit: bool) -> Render | None:
        try:
            return access_log.text_line(compile_format(text, omit_empty_values=omit))
        except FormatError as error:
            if getattr(at.message, field) == text:
                at.error_inside(
                    self._problems, Code.BAD_FORMAT, error.message, field, error.position
                )
            else:
                where = f"{error.message}, at character {error.position + 1}"
                at.error(self._problems, Code.BAD_FORMAT, where, field)
            return None

    def _json(self, at: At, field: str, *, omit: bool) -> Render | None:
        tree = plain(getattr(at.message, field))
        try:
            return compile_json(tree, omit_empty_values=omit)
        except FormatError as error:
            at.error(self._problems, Code.BAD_FORMAT, error.message, field)
            return None

    # ---- the filter

    def _filter(self, at: At) -> AccessLogFilter | None:
        kind = at.message.WhichOneof("filter_specifier")
        inside = at.one(kind) if kind else None
        build = _FILTERS.get(kind)
        if inside is None or build is None:
            return None  # not supported, and noted as that
        return build(self, inside)

    def _comparison(self, at: At) -> tuple[str, int]:
        comparison = at.message.comparison
        inside = at.one("comparison")
        op = enum_name(inside, "op", "EQ") if inside is not None else "EQ"
        number = self._context.runtime.number(
            comparison.value.runtime_key, comparison.value.default_value
        )
        return op, int(number)

    def _status_code(self, at: At) -> AccessLogFilter:
        return access_log.status_code_filter(*self._comparison(at))

    def _duration(self, at: At) -> AccessLogFilter:
        return access_log.duration_filter(*self._comparison(at))

    def _runtime(self, at: At) -> AccessLogFilter:
        percent = at.message.percent_sampled
        fraction = self._context.runtime.override(
            at.message.runtime_key, (int(percent.numerator), denominator(percent))
        )
        return access_log.runtime_filter(
            *fraction,
            random_bits,
            use_independent_randomness=at.message.use_independent_randomness,
        )

    def _all(self, at: At) -> AccessLogFilter:
        built = [self._filter(each) for each in at.many("filters")]
        return access_log.and_filter([each for each in built if each is not None])

    def _any(self, at: At) -> AccessLogFilter:
        built = [self._filter(each) for each in at.many("filters")]
        return access_log.or_filter([each for each in built if each is not None])

    def _header(self, at: At) -> AccessLogFilter | None:
        header = at.one("header")
        matches = build_header(header, self._problems) if header is not None else None
        return access_log.header_filter(matches) if matches is not None else None

    def _response_flag(self, at: At) -> AccessLogFilter:
        bits = 0
        for index, flag in enumerate(at.message.flags):
            if flag not in _FLAG_BITS and flag in _ENVOY_ONLY_FLAGS:
                text = f"the response flag '{flag}' is not supported"
                at.error(self._problems, Code.UNSUPPORTED_VALUE, text, "flags", index)
            bits |= _FLAG_BITS.get(flag, 0)
        return access_log.response_flag_filter(bits)

    def _log_type(self, at: At) -> AccessLogFilter:
        enum = at.message.DESCRIPTOR.fields_by_name["types"].enum_type
        numbers = [number for number in at.message.types if number in enum.values_by_number]
        names = [enum.values_by_number[number].name for number in numbers]
        return access_log.log_type_filter(names, exclude=at.message.exclude)


# Flags that validate and that nothing here ever sets.
_ENVOY_ONLY_FLAGS: Final = frozenset({"UDO"})

_FILTERS: Final[dict[Any, Callable[[AccessLogBuilder, At], AccessLogFilter | None]]] = {
    "status_code_filter": AccessLogBuilder._status_code,
    "duration_filter": AccessLogBuilder._duration,
    "not_health_check_filter": lambda builder, at: access_log.not_health_check_filter(),
    "runtime_filter": AccessLogBuilder._runtime,
    "and_filter": AccessLogBuilder._all,
    "or_filter": AccessLogBuilder._any,
    "header_filter": AccessLogBuilder._header,
    "response_flag_filter": AccessLogBuilder._response_flag,
    "log_type_filter": AccessLogBuilder._log_type,
}
