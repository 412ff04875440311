"""Runs CPython's regression tests in this process, as they are, with the hooks, or in a scope: arguments mode, and
theirs."""
import sys
import threading

mode = sys.argv.pop(1)
if mode != "plain":
    from secalloc import scope

    scope.install()
if mode == "scope":
    run = threading.Thread.run

    def run_in_scope(self: threading.Thread) -> None:
        with scope(stack=False):
            run(self)

    threading.Thread.run = run_in_scope  # type: ignore[method-assign]
    block = scope()
    block.__enter__()

from test.libregrtest.main import main  # noqa: E402

main()
