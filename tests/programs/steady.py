"""Threads with queues, locks, timers, files and memory that all count on; speaks the protocol of workload.h."""
import gc
import hashlib
import os
import queue
import threading
import time

HOME = os.environ["WORKLOAD_DIR"]
WORKERS = 6
failures = []


def path(name):
    return os.path.join(HOME, name)


class Pipeline:
    """A chain of threads: every number passes through all of them, in order, exactly once."""

    def __init__(self):
        self.queues = [queue.Queue(maxsize=64) for _ in range(WORKERS + 1)]
        self.received = 0
        self.digest = hashlib.sha256()
        self.mirror = open(path("digests"), "w+")
        for n in range(WORKERS):
            threading.Thread(target=self.stage, args=(n,), daemon=True).start()
        threading.Thread(target=self.source, daemon=True).start()
        threading.Thread(target=self.sink, daemon=True).start()

    def source(self):
        number = 0
        while True:
            self.queues[0].put(number)
            number += 1
            if number % 50 == 0:
                time.sleep(0.005)

    def stage(self, n):
        while True:
            self.queues[n + 1].put(self.queues[n].get())

    def sink(self):
        while True:
            number = self.queues[WORKERS].get()
            if number != self.received:
                failures.append(f"number {number} came where {self.received} was due")
            self.received += 1
            self.digest.update(str(number).encode())
            if self.received % 1000 == 0:
                self.mirror.write(f"{self.received} {self.digest.hexdigest()}\n")
                self.mirror.flush()


class Churn:
    """Objects that come and go, with a sum that must stay."""

    def __init__(self):
        self.table = {n: [n] * 50 for n in range(20000)}
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        n = 0
        while True:
            self.table[n % 20000] = [n % 20000] * 50
            n += 1
            if n % 200 == 0:
                time.sleep(0.002)

    def check(self):
        if any(values[0] != key or sum(values) != key * 50 for key, values in list(self.table.items())):
            failures.append("the table has changed")


def expected_digests():
    digest, count = hashlib.sha256(), 0
    while True:
        digest.update(str(count).encode())
        count += 1
        if count % 1000 == 0:
            yield f"{count} {digest.hexdigest()}"


def check(pipeline, churn, last):
    deadline = time.monotonic() + 10
    while pipeline.received < last + 2000:
        if time.monotonic() > deadline:
            failures.append(f"the pipeline stands at {pipeline.received}")
            break
        time.sleep(0.01)
    churn.check()
    gc.collect()
    with open(path("digests")) as mirror:
        for line, due in zip(mirror.read().splitlines()[:-1], expected_digests()):
            if line != due:
                failures.append(f"digest {line} instead of {due}")
                break
    return pipeline.received


def main():
    pipeline, churn = Pipeline(), Churn()
    last, number = 0, 1
    with open(path("ready~"), "w") as ready:
        ready.write(str(os.getpid()))
    os.rename(path("ready~"), path("ready"))
    while not os.path.exists(path("stop")):
        if os.path.exists(path(f"check.{number}")):
            last = check(pipeline, churn, last)
            with open(path("result~"), "w") as result:
                result.write("\n".join("FAIL: " + text for text in failures) or "OK")
            os.rename(path("result~"), path(f"result.{number}"))
            number += 1
        time.sleep(0.01)
    os._exit(0)


main()
