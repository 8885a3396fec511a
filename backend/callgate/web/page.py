"""The one page for people. It tells a stranger only that telephone calls are answered here."""

from __future__ import annotations

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Callgate</title>
<style>
  body {{ font: 1.1rem/1.5 system-ui, sans-serif; max-width: 34rem; margin: 15vh auto; padding: 0 1rem; color: #222; }}
  .state {{ border-left: .4rem solid {color}; padding: .2rem .8rem; }}
</style>
<h1>Callgate</h1>
<p>This server answers telephone calls: it connects callers to a realtime voice model.
There is nothing to see here; call its number.</p>
<p class="state">{state}</p>
</html>
"""


def status_page(*, ready: bool) -> str:
    """Return the page as HTML."""
    if ready:
        return _PAGE.format(color="#2a7", state="Ready to take calls.")
    return _PAGE.format(color="#c33", state="Not ready to take calls. Its operator finds the reason at /readyz.")
