from tests.support.wasm_traces import same_sizes

MAP = "[vm->host] env.proxy_get_header_map_pairs(6, @, @)"


def allocate(size: int) -> str:
    return f"[host->vm] proxy_on_memory_allocate({size})"


def test_a_map_may_differ_by_the_digits_of_a_time_and_nothing_else():
    assert same_sizes([MAP, allocate(129)], [MAP, allocate(128)]) == [MAP, allocate(129)]
    assert same_sizes([MAP, allocate(129)], [MAP, allocate(120)]) == [MAP, allocate(120)]
    assert same_sizes(["x", allocate(129)], ["x", allocate(128)]) == ["x", allocate(128)]
    assert same_sizes([MAP], [MAP, allocate(1)]) == [MAP, allocate(1)]
