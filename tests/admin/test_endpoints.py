import re

from meshproxy.admin.endpoints import BY_PATH, ENDPOINTS, help_text


def test_an_unknown_path_gets_the_help(ask):
    status, body = ask("/nope")
    assert status == 404
    assert body.startswith("invalid path. admin commands are:\n  /: Admin home page\n  /certs: ")
    assert ask("/stats/")[0] == 404


def test_help_lists_every_endpoint_with_its_method_and_parameters(ask):
    status, body = ask("/help")
    assert status == 200
    assert body == help_text()
    for endpoint in ENDPOINTS:
        post = " (POST)" if endpoint.mutates else ""
        assert f"  {endpoint.path}{post}: " in body
    assert "      format: Format to use; One of (html, active-html, text, json)\n" in body
    assert "      usedonly: Only include stats that have been written by system" in body


def test_the_list_is_sorted_and_without_duplicates():
    paths = [endpoint.path for endpoint in ENDPOINTS]
    assert paths == sorted(paths)
    assert len(paths) == len(BY_PATH)


def test_whatever_only_reads_takes_any_method(ask):
    assert ask("/ready", "POST") == (200, "LIVE\n")
    assert ask("/ready", "PUT") == (200, "LIVE\n")


def test_the_home_page_links_what_reads_and_has_forms_for_the_rest(ask):
    status, page = ask("/")
    assert status == 200
    assert '<a href="certs">certs</a>' in page
    assert '<form action="quitquitquit" method="post" id="quitquitquit">' in page
    assert '<form action="stats" method="get" id="stats">' in page
    assert '<select name="format" id="stats-format" form="stats">' in page
    assert "&lt;logger_name1&gt;:&lt;desired_level1&gt;" in page
    assert "<script" not in page


def test_every_label_of_the_home_page_belongs_to_one_field(ask):
    page = ask("/")[1]
    fields = re.findall(r' id="([^"]+)"', page)
    assert len(fields) == len(set(fields))
    assert set(re.findall(r'for="([^"]+)"', page)) <= set(fields)
    assert set(re.findall(r' form="([^"]+)"', page)) <= set(fields)
