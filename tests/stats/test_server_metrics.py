import pytest

from meshproxy.stats import memory as memory_module
from meshproxy.stats.memory import memory
from meshproxy.stats.metrics import AdminListenerStats, ListenerStats
from meshproxy.stats.server_metrics import ServerMetrics, version_number
from meshproxy.stats.store import Store


@pytest.fixture
def store():
    return Store()


def value(store, name):
    return store.metrics[name].value


def test_every_name_exists_from_the_start(store):
    ServerMetrics(store, lambda: 0.0, "1.2.3", concurrency=2)
    assert {
        "server.worker_1.watchdog_miss",
        "workers.watchdog_mega_miss",
        "http1.response_flood",
        "runtime.load_success",
        "overload.refresh_interval_delay",
        "server.days_until_first_cert_expiring",
    } <= set(store.metrics)
    assert value(store, "server.concurrency") == 2
    assert value(store, "server.version") == 10203
    assert value(store, "server.days_until_first_cert_expiring") == 2**32 - 1


def test_only_a_live_server_is_live(store):
    metrics = ServerMetrics(store, lambda: 0.0, "0.1.0")
    assert (value(store, "server.live"), value(store, "server.state")) == (0, 2)
    metrics.set_state("LIVE")
    assert (value(store, "server.live"), value(store, "server.state")) == (1, 0)
    metrics.set_state("DRAINING")
    assert (value(store, "server.live"), value(store, "server.state")) == (0, 1)
    with pytest.raises(ValueError, match="not in tuple"):
        metrics.set_state("ASLEEP")


def test_uptime_memory_and_connections_are_looked_up(store):
    ServerMetrics(store, lambda: 12.9, "0.1.0")
    store.scope("listener.127.0.0.1_80.").block(ListenerStats).downstream_cx_active.value = 3
    store.scope("listener.b.").block(ListenerStats).downstream_cx_active.value = 4
    store.scope("listener.admin.").block(AdminListenerStats).downstream_cx_active.value = 9
    store.refresh()
    assert value(store, "server.uptime") == 12
    assert value(store, "server.total_connections") == 7
    assert value(store, "server.memory_physical_size") > 5_000_000


def test_the_time_to_start_is_recorded(store):
    ServerMetrics(store, lambda: 0.0, "0.1.0").initialized(31)
    assert store.metrics["server.initialization_time_ms"].distribution() == [(31, 1)]


def test_memory_is_zero_where_the_kernel_does_not_tell(monkeypatch, tmp_path):
    seen = memory()
    assert 0 < seen.allocated <= seen.physical
    monkeypatch.setattr(memory_module, "_STATM", tmp_path / "none")
    assert memory() == (0, 0, 0)


@pytest.mark.parametrize(
    ("version", "number"), [("1.40.2", 14002), ("0.1.0", 100), ("2", 20000), ("0.1.0rc1", 100)]
)
def test_a_version_is_one_number(version, number):
    assert version_number(version) == number
