"""Several plugins, and what they share: the same order, tokens, values and metrics as in Envoy."""

import json
import re

import pytest

from tests.conformance.conftest import Pairs
from tests.conformance.harness import Both, Plugin, configuration, different, request
from tests.support.upstreams import RecordingUpstream

ONE_VM = (Plugin(name="one", root_id="a"), Plugin(name="two", root_id="b"))
TWO_VMS = (Plugin(name="one", vm_id="first"), Plugin(name="two", vm_id="second"))
EQUAL = (Plugin(), Plugin())
CHAINS = {"one VM": ONE_VM, "two VMs": TWO_VMS, "one root": EQUAL}
TICK = "proxy_set_tick_period_milliseconds|20"
PROGRAMS = {
    "nothing": "",
    "pause": f"request_headers={TICK};return|1^tick=proxy_set_effective_context|@;"
    "proxy_continue_stream|0",
    "deny": "request_headers=proxy_send_local_response|403|no|denied||-1;return|1",
    "deny in the response": "response_headers=proxy_send_local_response|403|no|denied||-1",
    "close": "request_body=proxy_close_stream|0",
    "properties": "request_headers=proxy_set_property|p|1^response_headers=proxy_get_property|p;"
    "proxy_get_property|filter_state%00wasm.p;proxy_get_property|plugin_name;"
    "proxy_get_property|plugin_root_id;proxy_get_property|plugin_vm_id^log=proxy_get_property|p",
}  # fmt: skip


def check(both: Both, program: str, **options: object) -> None:
    seen = both.run(request(program), **options)
    for side in seen.values():
        side.lines = [line for line in side.lines if not line.startswith("probe tick ")]
    wrong = different(seen)
    assert not wrong, "\n".join(["", *wrong])


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_chain_is_called_in_the_same_order(pairs: Pairs, chain: str, program: str):
    both = pairs.of(*CHAINS[chain])
    if program != "pause" or chain == "two VMs":  # the timer of a root knows its newest stream
        check(both, PROGRAMS[program], ends=2)


@pytest.mark.parametrize("chain", CHAINS)
def test_plugins_start_in_the_same_order(pairs: Pairs, chain: str):
    started = pairs.of(*CHAINS[chain]).started
    assert started["envoy"] == started["meshproxy"]


def test_shared_data_have_the_same_numbers(pairs: Pairs):
    check(
        pairs.of(Plugin()),
        "request_headers="
        "proxy_get_shared_data|k;proxy_set_shared_data|k|one|0;proxy_get_shared_data|k;"
        "proxy_set_shared_data|k|two|$;proxy_get_shared_data|k;proxy_set_shared_data|k|three|1;"
        "proxy_set_shared_data|k||0;proxy_get_shared_data|k;proxy_set_shared_data|new|v|7;"
        "proxy_get_shared_data|new;proxy_set_shared_data||empty|0;proxy_get_shared_data|",
    )


def test_queues_have_the_same_tokens(pairs: Pairs):
    check(
        pairs.of(Plugin()),
        "request_headers="
        "proxy_resolve_shared_queue|vm|q;proxy_dequeue_shared_queue|1;proxy_enqueue_shared_queue|1|x;"
        "proxy_register_shared_queue|q;proxy_dequeue_shared_queue|$;proxy_register_shared_queue|q;"
        "proxy_resolve_shared_queue|vm|q;proxy_resolve_shared_queue||q;"
        "proxy_enqueue_shared_queue|$|one;proxy_enqueue_shared_queue|$|two;"
        "proxy_dequeue_shared_queue|$;proxy_dequeue_shared_queue|$;proxy_dequeue_shared_queue|$;"
        "proxy_register_shared_queue|r",
    )


def test_an_item_reaches_the_plugin_of_another_vm(pairs: Pairs):
    receiver = Plugin(
        name="receiver",
        vm_id="first",
        program="configure=proxy_register_shared_queue|mail^"
        "queue_ready=proxy_dequeue_shared_queue|1;proxy_dequeue_shared_queue|1",
    )
    both = pairs.of(receiver, Plugin(name="sender", vm_id="second"))
    program = (
        "request_headers=proxy_resolve_shared_queue|first|mail;proxy_enqueue_shared_queue|$|hi"
    )
    check(both, program, ends=2, extra=("queue_ready", 6))


METRICS = (
    "request_headers="
    "proxy_define_metric|0|hits;proxy_increment_metric|$|2;proxy_increment_metric|$|-1;"
    "proxy_increment_metric|$|0;proxy_record_metric|$|5;proxy_get_metric|$;"
    "proxy_define_metric|0|hits;proxy_increment_metric|$|1;proxy_get_metric|$;"
    "proxy_define_metric|1|level;proxy_record_metric|$|9;proxy_increment_metric|$|-2;"
    "proxy_increment_metric|$|3;proxy_get_metric|$;"
    "proxy_define_metric|2|sizes;proxy_record_metric|$|70;proxy_increment_metric|$|1;"
    "proxy_get_metric|$;proxy_define_metric|0|a.b_value%3Dx_other%3Dy%20z;"
    "proxy_increment_metric|$|4;proxy_define_metric|7|x"
)


def test_metrics_have_the_same_numbers_and_names(pairs: Pairs):
    both = pairs.of(Plugin())
    check(both, METRICS)
    found = {}
    for kind, side in both.sides.items():
        stats = json.loads(side.proxy.admin("/stats?format=json&filter=wasmcustom"))["stats"]
        found[kind] = {each["name"]: each["value"] for each in stats if "name" in each}
    # Envoy's histograms are flushed every few seconds only.
    assert found["envoy"] == found["meshproxy"]
    assert found["envoy"]["wasmcustom.hits"] == 8
    text = {
        kind: {
            line
            for line in side.proxy.admin("/stats/prometheus").splitlines()
            if line.startswith(
                ("hits", "level", "a_b", "# TYPE hits", "# TYPE level", "# TYPE a_b")
            )
        }
        for kind, side in both.sides.items()
    }
    assert text["envoy"] == text["meshproxy"]
    assert len(text["envoy"]) == 6


TAGS = {
    "stats_tags": [
        {"tag_name": "source", "regex": r"(_source=([a-z]+))"},
        {"tag_name": "code", "regex": r"(_code=(\d+))$"},
        {"tag_name": "zone", "fixed_value": "a"},
    ]
}


def test_metrics_have_the_same_tags():
    """The convention of Istio's and Go's filters: `name_tag=value_...`, told apart by regexes."""
    with RecordingUpstream() as up:
        document = json.loads(configuration([Plugin()], up.port, 1, 1)) | {"stats_config": TAGS}
        with Both(json.dumps(document), up) as both:
            check(
                both,
                "request_headers=proxy_define_metric|0|hits_source%3Dshop_code%3D200;"
                "proxy_increment_metric|$|3;proxy_define_metric|0|hits_source%3Dcart_code%3D404;"
                "proxy_increment_metric|$|4",
            )
            found = {
                kind: sorted(
                    sorted(re.split(r"[{},]", line))  # the order of labels says nothing
                    for line in side.proxy.admin("/stats/prometheus").splitlines()
                    if line.startswith("hits")
                )
                for kind, side in both.sides.items()
            }
    assert found["envoy"] == found["meshproxy"]
    assert len(found["envoy"]) == 2
