"""A Python that runs the blocks of a page one after the other in one namespace: a JSON line in, a JSON line out.

Started as a process of its own, with nothing but the standard library: what the blocks import is their affair.
"""

import contextlib
import io
import json
import os
import sys
import traceback

answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)  # a process that a block starts must not write between the answers
names = {"__name__": "__main__"}

for line in sys.stdin:
    given = json.loads(line)
    os.environ.update(given["env"])
    printed, failed = io.StringIO(), False
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            exec(compile(given["text"], given["place"], "exec"), names)  # noqa: S102  the page's own code
        except BaseException:  # noqa: BLE001  whatever it raises is what the test reports
            failed = True
            traceback.print_exc()
    answers.write(json.dumps({"failed": failed, "printed": printed.getvalue()}) + "\n")
    answers.flush()
