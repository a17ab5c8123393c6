// A JVM under network and file load, with an outcome that does not depend on timing: sums of what was echoed, fetched, written.
import com.sun.net.httpserver.HttpServer;
import java.io.*;
import java.net.*;
import java.net.http.*;
import java.nio.ByteBuffer;
import java.nio.channels.*;
import java.nio.file.*;
import java.util.*;
import java.util.concurrent.*;
import java.util.zip.CRC32;

public class Load {
  static final InetAddress HERE = InetAddress.getLoopbackAddress();

  static long crc(byte[] data) {
    CRC32 c = new CRC32();
    c.update(data);
    return c.getValue();
  }

  static byte[] data(int seed, int n) {
    byte[] b = new byte[n];
    new Random(seed).nextBytes(b);
    return b;
  }

  static void echo(Selector selector) {
    try {
      ByteBuffer buffer = ByteBuffer.allocateDirect(1 << 16);
      while (selector.isOpen()) {
        selector.select();
        for (Iterator<SelectionKey> i = selector.selectedKeys().iterator(); i.hasNext();) {
          SelectionKey key = i.next();
          i.remove();
          if (key.isAcceptable()) {
            SocketChannel c = ((ServerSocketChannel) key.channel()).accept();
            c.configureBlocking(false);
            c.register(selector, SelectionKey.OP_READ);
            continue;
          }
          SocketChannel c = (SocketChannel) key.channel();
          buffer.clear();
          if (c.read(buffer) < 0) {
            c.close();
            continue;
          }
          buffer.flip();
          while (buffer.hasRemaining()) c.write(buffer);
        }
      }
    } catch (IOException | ClosedSelectorException e) {
      System.out.println("echo: " + e.getClass().getSimpleName());
    }
  }

  public static void main(String[] args) throws Exception {
    Path folder = Path.of(args[0]);
    ExecutorService pool = Executors.newFixedThreadPool(8);

    Selector selector = Selector.open();
    ServerSocketChannel listener = ServerSocketChannel.open().bind(new InetSocketAddress(HERE, 0));
    listener.configureBlocking(false);
    listener.register(selector, SelectionKey.OP_ACCEPT);
    int port = ((InetSocketAddress) listener.getLocalAddress()).getPort();
    Thread server = new Thread(() -> echo(selector));
    server.setDaemon(true);
    server.start();

    List<Future<Long>> sums = new ArrayList<>();
    for (int i = 0; i < 24; i++) {
      byte[] sent = data(i, 200_000 + i);
      sums.add(pool.submit(() -> {
        try (Socket s = new Socket(HERE, port)) {
          Thread writer = new Thread(() -> {
            try {
              s.getOutputStream().write(sent);
              s.shutdownOutput();
            } catch (IOException e) {
              throw new UncheckedIOException(e);
            }
          });
          writer.start();
          byte[] got = s.getInputStream().readNBytes(sent.length);
          writer.join();
          return crc(got);
        }
      }));
    }
    for (int i = 0; i < sums.size(); i++) System.out.println("echo " + i + " " + sums.get(i).get());

    HttpServer web = HttpServer.create(new InetSocketAddress(HERE, 0), 0);
    web.createContext("/", x -> {
      byte[] body = data(x.getRequestURI().getPath().length(), 50_000);
      x.sendResponseHeaders(200, body.length);
      x.getResponseBody().write(body);
      x.close();
    });
    web.setExecutor(pool);
    web.start();
    HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
    List<CompletableFuture<byte[]>> answers = new ArrayList<>();
    for (int i = 0; i < 40; i++) {
      URI at = URI.create("http://" + HERE.getHostAddress() + ":" + web.getAddress().getPort() + "/" + "x".repeat(i));
      answers.add(client.sendAsync(HttpRequest.newBuilder(at).build(), HttpResponse.BodyHandlers.ofByteArray()).thenApply(HttpResponse::body));
    }
    for (int i = 0; i < answers.size(); i++) System.out.println("http " + i + " " + crc(answers.get(i).get()));
    web.stop(0);

    try (DatagramSocket a = new DatagramSocket(0, HERE); DatagramSocket b = new DatagramSocket(0, HERE)) {
      for (int i = 0; i < 50; i++) {
        byte[] d = data(i, 500);
        a.send(new DatagramPacket(d, d.length, HERE, b.getLocalPort()));
        DatagramPacket p = new DatagramPacket(new byte[1000], 1000);
        b.receive(p);
        if (i % 10 == 0) System.out.println("udp " + i + " " + p.getLength() + " " + crc(Arrays.copyOf(p.getData(), p.getLength())));
      }
    }

    for (int i = 0; i < 20; i++) {
      Path file = folder.resolve("file" + i);
      Files.write(file, data(i, 300_000));
      try (FileChannel c = FileChannel.open(file, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
        c.write(ByteBuffer.wrap("changed".getBytes()), 1000);
        c.force(true);
        c.truncate(250_000);
      }
      System.out.println("file " + i + " " + Files.size(file) + " " + crc(Files.readAllBytes(file)));
      Files.delete(file);
    }
    try {
      Files.readAllBytes(folder.resolve("missing"));
    } catch (NoSuchFileException e) {
      System.out.println("missing, as it should be");
    }
    pool.shutdown();
    System.out.println("done");
    System.exit(0);
  }
}
