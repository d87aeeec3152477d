"""Runs the peer's crit over every image of a directory, in one process: starting Python for each file costs more.

usage: decode-images.py CRIT-SCRIPT DIRECTORY
Prints one line for each file that crit cannot decode, and exits 1 then.
"""
import contextlib
import io
import os
import runpy
import sys

crit, directory = sys.argv[1:3]
failed = False
count = 0
for name in sorted(os.listdir(directory)):
    # Page contents (compressed ones, and what is known of hot ones, are our own kinds) and packed file systems are raw: they
    # have no entries to decode.
    if not name.endswith(".img") or name.startswith(("pages-", "cpages-", "hot-pages.")) or ".tar." in name:
        continue
    out, err = io.StringIO(), io.StringIO()
    sys.argv = ["crit", "show", os.path.join(directory, name)]
    status = 0
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            runpy.run_path(crit, run_name="__main__")
    except SystemExit as end:
        status = end.code or 0
    except Exception as error:  # whatever it is, it is this file's failure
        status = f"{type(error).__name__}: {error}"
    count += 1
    if status != 0 or '"magic"' not in out.getvalue():
        failed = True
        print(f"{name}: {status} {err.getvalue().strip()[-300:]} {out.getvalue().strip()[-200:]}")
if count == 0:
    failed = True
    print("no image found")
sys.exit(1 if failed else 0)
