def test_it_adds_and_replaces_what_the_benchmark_says(run):
    received, answer = run(("bench_headers", None)).get("/", ("x-bench-replaced", "old"))
    assert received.values("x-bench-added") == ["1"]
    assert received.values("x-bench-replaced") == ["meshproxy"]
    assert answer.values("x-bench-answered") == ["1"]


def test_a_chain_of_five_runs_in_one_vm(run):
    received, answer = run(*[("bench_headers", None)] * 5).get()
    assert received.values("x-bench-added") == ["1"] * 5
    assert answer.values("x-bench-answered") == ["1"] * 5
