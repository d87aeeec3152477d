import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.atomic.AtomicLong;

/** Threads, queues, compiled loops and a garbage collector that never rests; speaks the protocol of workload.h. */
public final class Steady {
    private static final Path HOME = Path.of(System.getenv("WORKLOAD_DIR"));
    private static final List<String> failures = new ArrayList<>();
    private static final ConcurrentHashMap<Integer, byte[]> table = new ConcurrentHashMap<>();
    private static final LinkedBlockingQueue<Long> queue = new LinkedBlockingQueue<>(100);
    private static final AtomicLong received = new AtomicLong();
    private static final AtomicLong collected = new AtomicLong();

    public static void main(String[] arguments) throws Exception {
        for (int i = 0; i < 5000; i++) table.put(i, digest(i));
        daemon(Steady::send);
        daemon(Steady::receive);
        daemon(Steady::litter);
        daemon(Steady::litter);
        write("ready", Long.toString(ProcessHandle.current().pid()));
        for (int number = 1; !Files.exists(HOME.resolve("stop"));) {
            if (Files.exists(HOME.resolve("check." + number))) {
                check();
                synchronized (failures) {
                    write("result." + number, failures.isEmpty() ? "OK" : "FAIL: " + String.join("\nFAIL: ", failures));
                }
                number++;
            }
            Thread.sleep(10);
        }
        Runtime.getRuntime().halt(0);
    }

    private interface Task { void run() throws Exception; }

    private static void daemon(Task task) {
        Thread thread = new Thread(() -> {
            try {
                task.run();
            } catch (Exception error) {
                fail(error.toString());
            }
        });
        thread.setDaemon(true);
        thread.start();
    }

    private static void send() throws Exception {
        for (long n = 0;; n++) {
            queue.put(n);
            if (n % 100 == 0) Thread.sleep(2);
        }
    }

    private static void receive() throws Exception {
        for (long due = 0;; due++) {
            long n = queue.take();
            if (n != due) fail("number " + n + " came where " + due + " was due");
            received.incrementAndGet();
        }
    }

    /** Short-lived and middle-aged objects, so that the collector moves what lives. */
    private static void litter() throws Exception {
        List<int[]> kept = new ArrayList<>();
        for (int n = 0;; n++) {
            int[] block = new int[1000];
            block[n % 1000] = n;
            if (n % 10 == 0) kept.add(block);
            if (kept.size() == 2000) {
                for (int i = 0; i < kept.size(); i++) {
                    int first = n - n % 10 - (kept.size() - 1 - i) * 10;
                    if (kept.get(i)[first % 1000] != first) fail("block " + i + " has changed");
                }
                kept.clear();
                collected.incrementAndGet();
            }
            if (n % 100 == 0) Thread.sleep(1);
        }
    }

    private static void check() throws Exception {
        long numbers = received.get();
        long rounds = collected.get();
        long deadline = System.nanoTime() + 15_000_000_000L;
        while (received.get() < numbers + 1000 || collected.get() < rounds + 1) {
            if (System.nanoTime() > deadline) {
                fail("stands still at " + received.get() + " numbers, " + collected.get() + " collections");
                break;
            }
            Thread.sleep(5);
        }
        System.gc();
        for (int i = 0; i < 5000; i++) {
            if (!MessageDigest.isEqual(table.get(i), digest(i))) fail("entry " + i + " has changed");
        }
    }

    private static byte[] digest(int n) throws Exception {
        return MessageDigest.getInstance("SHA-256").digest(HexFormat.of().toHexDigits(n).getBytes());
    }

    private static void fail(String what) {
        synchronized (failures) {
            failures.add(what);
        }
    }

    private static void write(String name, String text) throws Exception {
        Files.writeString(HOME.resolve("part~"), text);
        Files.move(HOME.resolve("part~"), HOME.resolve(name), StandardCopyOption.ATOMIC_MOVE);
    }
}
