from meshproxy.demo.report import Progress


def test_progress_is_silent_where_nobody_watches(capsys):
    progress = Progress(2)
    progress()
    progress()
    progress.done()
    assert capsys.readouterr().out == ""
