// What a Java program sees of its network: one line "value|seconds" for each thing it tries. Values of failures are class
// name and message.
import java.io.*;
import java.net.*;
import java.nio.ByteBuffer;
import java.nio.channels.*;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.*;
import java.util.concurrent.Callable;

public class Client {
  static final byte[] QUESTION = "GET / HTTP/1.0\r\n\r\n".getBytes(StandardCharsets.US_ASCII);

  static void say(Callable<Object> action) {
    long began = System.nanoTime();
    Object value;
    try {
      value = action.call();
    } catch (Throwable e) {
      value = e.getClass().getSimpleName() + ": " + e.getMessage();
    }
    System.out.println(String.valueOf(value).trim().replace('\n', ' ') + "|" + (System.nanoTime() - began) / 1e9);
    System.out.flush();
  }

  static String lastLine(byte[] answer) {
    String text = new String(answer, StandardCharsets.UTF_8);
    return text.substring(text.indexOf("\r\n\r\n") + 4);
  }

  static Object socket(int port, int timeout) throws Exception {
    try (Socket s = new Socket()) {
      s.connect(new InetSocketAddress("127.0.0.1", port), timeout);
      s.setSoTimeout(timeout);
      s.getOutputStream().write(QUESTION);
      return lastLine(s.getInputStream().readAllBytes());
    }
  }

  static Object http(int port, int timeout, String path) throws Exception {
    HttpURLConnection c = (HttpURLConnection) new URL("http://127.0.0.1:" + port + path).openConnection(Proxy.NO_PROXY);
    c.setConnectTimeout(timeout);
    c.setReadTimeout(timeout);
    byte[] body = c.getInputStream().readAllBytes();
    if (body.length < 100) return new String(body, StandardCharsets.UTF_8);
    return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(body));
  }

  // One selector, one connection for each port; "port:time in ms" of each as they end.
  static Object nio(int... ports) throws Exception {
    StringBuilder out = new StringBuilder();
    long began = System.nanoTime();
    try (Selector selector = Selector.open()) {
      for (int port : ports) {
        SocketChannel c = SocketChannel.open();
        c.configureBlocking(false);
        boolean connected = c.connect(new InetSocketAddress("127.0.0.1", port));
        c.register(selector, connected ? SelectionKey.OP_WRITE : SelectionKey.OP_CONNECT, port);
      }
      int open = ports.length;
      ByteBuffer buffer = ByteBuffer.allocate(65536);
      while (open > 0) {
        if (selector.select(15000) == 0) return "nothing happens";
        for (Iterator<SelectionKey> i = selector.selectedKeys().iterator(); i.hasNext();) {
          SelectionKey key = i.next();
          i.remove();
          SocketChannel c = (SocketChannel) key.channel();
          try {
            if (key.isConnectable()) {
              if (!c.finishConnect()) continue;
              key.interestOps(SelectionKey.OP_WRITE);
            } else if (key.isWritable()) {
              c.write(ByteBuffer.wrap(QUESTION));
              key.interestOps(SelectionKey.OP_READ);
            } else if (key.isReadable()) {
              buffer.clear();
              if (c.read(buffer) >= 0) continue;
              out.append(key.attachment()).append(':').append((System.nanoTime() - began) / 1_000_000).append(' ');
              --open;
              c.close();
            }
          } catch (IOException e) {
            out.append(e.getClass().getSimpleName()).append(": ").append(e.getMessage()).append(' ');
            --open;
            c.close();
          }
        }
      }
    }
    return out;
  }

  public static void main(String[] words) {
    Scanner orders = new Scanner(System.in);
    while (orders.hasNextLine()) {
      String[] w = orders.nextLine().split(" ");
      int[] n = Arrays.stream(w).skip(1).filter(x -> x.matches("\\d+")).mapToInt(Integer::parseInt).toArray();
      switch (w[0]) {
        case "socket" -> say(() -> socket(n[0], n[1]));
        case "http" -> say(() -> http(n[0], n[1], w[3]));
        case "nio" -> say(() -> nio(n));
        default -> System.out.println("?|0");
      }
    }
  }
}
