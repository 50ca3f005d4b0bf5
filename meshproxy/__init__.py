"""meshproxy, a service-mesh sidecar: Envoy's YAML in, Proxy-Wasm filters at work, Prometheus out.

THE MAP. Imports point strictly down; packages on one floor do not import each other.
`tests/test_architecture.py` walks the code and fails on a climb, and keeps this page complete.

    9  cli              the command line: flags, `validate`, `demo`
    8  demo             two versions of an app, the proxy before them, a table of what happened
       filter_tools     for people who write filters: inspect, test, trace, bench, new, pytest
       server           process, signals, logging, drain: the composition root
    7  config           YAML to protos to frozen objects; the only floor that sees a proto
    6  http_filters     built-in HTTP filters, one file or package each, and the adapter for Wasm
       network_filters  filters on a connection; the HTTP connection manager is one of them
    5  admin            Envoy's admin endpoints and the Prometheus exposition
       dapr             building blocks behind Dapr's API
    4  router           route matching, header mutation, the try that goes upstream
    3  upstream         clusters, hosts, load balancing, connection pools
    2  network          addresses, transports, listeners, tasks
       http_wasm        the http-wasm handler ABI, for Dapr's Wasm middleware
       proxy_wasm       the Proxy-Wasm ABI: hostcalls, contexts, properties
    1  http             header maps, codecs, streams, the contract of a filter
       wasm             the Wasm engine: modules, limits, compile cache, raw calls
    0  compile          which modules are compiled with mypyc, and how; no run needs it
       errors           what configuration and start-up raise
       resources        where the files that come with the package lie
       stats            every metric, declared; the store that holds them

`asyncio` is not imported on errors, stats, http, wasm, proxy_wasm and router: they get bytes by
method call and write through what they were given. The only class that touches a transport is
`network/connection.py::Connection`.

LIFE OF A REQUEST (HTTP/1.1, no Wasm)

     1 network/listener.py      accepts, picks the filter chain, builds a Connection; with other
                                network filters before it, HTTP is the last of a FilterManager
     2 network/connection.py    data_received(bytes)      to codec.dispatch(bytes)
     3 http/http1.py            ServerCodec               to manager.new_stream(), decode_headers()
     4 http/conn_manager.py     stats, request id, x-forwarded-*, deadline
     5 http/stream.py           the decode chain: every filter of http_filters/ in its order
     6 router/router.py         route, then host
     7 upstream/conn_pool.py    ready, connect, queue or overflow, decided purely
     8 http/http1.py            ClientCodec.encode_headers(), one write
       the peer answers: 2 connection, 8 ClientCodec, 6 upstream request, 5 the encode chain
       backwards, 3 ServerCodec, one write

What the reads of one turn of the event loop make it write is sent together at the end of the turn.

Between 2 and 8 there is no await, no task and no lookup by name. An error on this road is a value:
whoever meets it calls `stream.send_local_reply(REPLY)` or `stream.reset(reason)`.
"""

from typing import Final

__version__: Final = "0.1.0"
