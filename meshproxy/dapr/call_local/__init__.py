"""The call between daprds: `dapr.proto.internals.v1.ServiceInvocation`. Knows no stream.

A request over HTTP, or an answer to one, goes in a first message, its body in pieces after it, each
with its number (`CallLocalStream`), or all of it in one message (`CallLocal`, which older daprds
use). The status of the call itself is that of the way: the app's is in the answer.

Owns what becomes of headers, bodies and statuses on that way, as daprd has it. Refuses to know who
calls whom (`invocation.py`) and how the bytes travel (`http_filters/dapr_call_local.py`).

Source: daprd v1.18, `pkg/messaging`, `pkg/api/grpc`, dapr/proto/internals/v1.
"""
