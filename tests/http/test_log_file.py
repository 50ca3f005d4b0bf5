import os
import threading

import pytest

from meshproxy.http import log_file
from meshproxy.http.log_file import STDOUT, AccessLogManager
from meshproxy.stats.store import Store

# Nothing here may wait for the timer: what is written is written because somebody asked.
NEVER = 3600.0


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def manager(store):
    manager = AccessLogManager(store, flush_interval=NEVER)
    yield manager
    manager.close()


def count(store, name):
    store.refresh()
    return store.metrics[f"filesystem.{name}"].value


def test_lines_are_held_until_somebody_flushes(manager, store, tmp_path):
    path = tmp_path / "a.log"
    file = manager.file(str(path))
    manager.start()
    file.write(b"one\n")
    file.write(b"two\n")
    assert path.read_bytes() == b""
    assert count(store, "write_buffered") == 2
    assert count(store, "write_total_buffered") == 8
    manager.flush()
    assert path.read_bytes() == b"one\ntwo\n"
    assert count(store, "write_completed") == 1
    assert count(store, "write_total_buffered") == 0


def test_a_file_is_appended_to(manager, tmp_path):
    path = tmp_path / "a.log"
    path.write_bytes(b"old\n")
    file = manager.file(str(path))
    manager.start()
    file.write(b"new\n")
    manager.flush()
    assert path.read_bytes() == b"old\nnew\n"


def test_everybody_gets_the_same_file_for_a_path(manager, tmp_path):
    assert manager.file(str(tmp_path / "a")) is manager.file(str(tmp_path / "a"))
    assert manager.file(str(tmp_path / "a")) is not manager.file(str(tmp_path / "b"))


def test_nothing_is_opened_before_the_start(manager, tmp_path):
    manager.file(str(tmp_path / "a.log"))
    assert not (tmp_path / "a.log").exists()
    manager.start()
    assert (tmp_path / "a.log").exists()


def test_a_file_asked_for_after_the_start_is_open_at_once(manager, tmp_path):
    manager.start()
    file = manager.file(str(tmp_path / "late.log"))
    file.write(b"x")
    manager.flush()
    assert (tmp_path / "late.log").read_bytes() == b"x"


def test_a_path_that_cannot_be_opened_fails_the_start_by_name(manager, tmp_path):
    path = str(tmp_path / "no" / "such" / "a.log")
    manager.file(path)
    with pytest.raises(FileNotFoundError) as error:
        manager.start()
    assert error.value.filename == path


def test_closing_writes_what_is_left(manager, tmp_path):
    path = tmp_path / "a.log"
    file = manager.file(str(path))
    manager.start()
    file.write(b"last\n")
    manager.close()
    assert path.read_bytes() == b"last\n"


def test_64_kib_wake_the_writer(manager, store, tmp_path):
    path = tmp_path / "a.log"
    file = manager.file(str(path))
    manager.start()
    written = threading.Event()
    write_all = file._write_all
    file._write_all = lambda data: (write_all(data), written.set())
    file.write(b"x" * log_file.MIN_FLUSH_SIZE)
    assert not written.is_set()
    file.write(b"y")
    file.write(b"z")
    assert written.wait(10)
    assert count(store, "flushed_by_timer") == 0


def test_the_timer_writes_what_is_little(store, tmp_path):
    manager = AccessLogManager(store, flush_interval=0.001)
    path = tmp_path / "a.log"
    file = manager.file(str(path))
    written = threading.Event()
    write_all = file._write_all
    file._write_all = lambda data: (write_all(data), written.set())
    manager.start()
    file.write(b"x")
    assert written.wait(10)
    manager.close()
    assert path.read_bytes() == b"x"
    assert count(store, "flushed_by_timer") == 1


def test_lines_beyond_the_bound_are_dropped_and_counted(manager, store, tmp_path, monkeypatch):
    monkeypatch.setattr(log_file, "MAX_PENDING", 10)
    manager.min_flush_size = 5
    file = manager.file(str(tmp_path / "a.log"))
    for number in range(20):
        file.write(b"%02d\n" % number)
    assert file.pending == 12
    assert count(store, "write_failed") == 16
    manager.start()
    manager.flush()
    assert (tmp_path / "a.log").read_bytes() == b"00\n01\n02\n03\n"
    file.write(b"20\n")
    manager.flush()
    assert (tmp_path / "a.log").read_bytes().endswith(b"20\n")


def test_a_file_that_was_moved_away_is_opened_again(manager, tmp_path):
    path = tmp_path / "a.log"
    file = manager.file(str(path))
    manager.start()
    file.write(b"before\n")
    manager.flush()
    path.rename(tmp_path / "a.log.1")
    manager.reopen()
    file.write(b"after\n")
    manager.flush()
    assert (tmp_path / "a.log.1").read_bytes() == b"before\n"
    assert path.read_bytes() == b"after\n"


def test_what_cannot_be_opened_again_goes_to_the_old_file(manager, store, tmp_path):
    directory = tmp_path / "logs"
    directory.mkdir()
    file = manager.file(str(directory / "a.log"))
    manager.start()
    directory.rename(tmp_path / "moved")
    file.reopen()
    file.write(b"kept\n")
    manager.flush()
    assert (tmp_path / "moved" / "a.log").read_bytes() == b"kept\n"
    assert count(store, "reopen_failed") == 1


def test_a_disk_that_refuses_costs_the_lines_and_nothing_else(manager, store, tmp_path):
    file = manager.file("/dev/full")
    manager.start()
    file.write(b"lost\n")
    manager.flush()
    assert count(store, "write_failed") == 1
    assert count(store, "write_completed") == 0
    assert file.pending == 0


def test_standard_output_is_the_one_of_the_process(manager, capfd):
    file = manager.file(STDOUT)
    manager.start()
    file.write(b"to stdout\n")
    manager.flush()
    assert capfd.readouterr().out == "to stdout\n"


def test_a_pipe_that_is_full_is_waited_for_and_gets_everything(manager):
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    file = manager.file("unused")
    file.fd = writer
    data = b"x" * 300_000
    file.write(data)
    read = bytearray()

    def drain():
        while len(read) < len(data):
            read.extend(os.read(reader, 65536))

    thread = threading.Thread(target=drain)
    thread.start()
    file.flush()
    thread.join(10)
    os.close(reader)
    assert bytes(read) == data


def test_lines_of_many_writers_stay_whole(manager, tmp_path):
    path = tmp_path / "a.log"
    file = manager.file(str(path))
    manager.start()
    for _ in range(2000):
        file.write(b"a line of the log that is not short\n" * 4)
    manager.close()
    lines = path.read_bytes().splitlines()
    assert len(lines) == 8000
    assert set(lines) == {b"a line of the log that is not short"}
