import logging

from meshproxy.filter_tools.logs import LOGGER, LogLine, LogTap


def test_a_line_loses_the_prefix_of_its_plugin():
    tap = LogTap(lambda: [" a: b root"], "info", propagate=True)
    tap.start()
    try:
        LOGGER.info("wasm log%s: %s", " a: b root", "one: two")
        LOGGER.log(15, "wasm log a: b root: below")
        LOGGER.warning("wasm log unknown: reload failed")
        LOGGER.critical("of the host")
    finally:
        tap.stop()
    LOGGER.error("later")
    assert tap.lines == [
        LogLine("info", "one: two", "a: b root"),
        LogLine("warn", "reload failed", "unknown"),
        LogLine("critical", "of the host"),
    ]
    assert LOGGER.level == logging.NOTSET
