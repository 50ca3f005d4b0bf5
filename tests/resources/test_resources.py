from meshproxy.resources import conf_directory, filters_directory


def test_the_example_configurations_are_where_it_says():
    assert (conf_directory() / "split.yaml").is_file()


def test_the_build_hook_has_compiled_every_example_filter_there():
    built = {path.stem for path in filters_directory().glob("*.wasm")}
    assert {"header_tag", "request_counter", "bench_headers"} <= built
