// Echo servers: `nio` (one selector, one thread) or `threads` (blocking, a thread for each connection).
import java.io.*;
import java.net.*;
import java.nio.ByteBuffer;
import java.nio.channels.*;
import java.util.Iterator;

public class Echo {
  static void nio(int port) throws IOException {
    Selector selector = Selector.open();
    ServerSocketChannel listener = ServerSocketChannel.open();
    listener.bind(new InetSocketAddress("127.0.0.1", port));
    listener.configureBlocking(false);
    listener.register(selector, SelectionKey.OP_ACCEPT);
    ByteBuffer buffer = ByteBuffer.allocateDirect(65536);
    while (true) {
      selector.select();
      for (Iterator<SelectionKey> i = selector.selectedKeys().iterator(); i.hasNext();) {
        SelectionKey key = i.next();
        i.remove();
        if (key.isAcceptable()) {
          SocketChannel c = listener.accept();
          if (c == null) continue;
          c.configureBlocking(false);
          c.setOption(StandardSocketOptions.TCP_NODELAY, true);
          c.register(selector, SelectionKey.OP_READ);
          continue;
        }
        SocketChannel c = (SocketChannel) key.channel();
        try {
          buffer.clear();
          if (c.read(buffer) < 0) { c.close(); continue; }
          buffer.flip();
          while (buffer.hasRemaining()) c.write(buffer);
        } catch (IOException e) {
          c.close();
        }
      }
    }
  }

  static void threads(int port) throws IOException {
    ServerSocket listener = new ServerSocket(port, 50, InetAddress.getByName("127.0.0.1"));
    while (true) {
      Socket s = listener.accept();
      s.setTcpNoDelay(true);
      Thread t = new Thread(() -> {
        byte[] part = new byte[65536];
        try (s; InputStream in = s.getInputStream(); OutputStream out = s.getOutputStream()) {
          for (int n; (n = in.read(part)) > 0;) out.write(part, 0, n);
        } catch (IOException e) {
          // the client is gone
        }
      });
      t.setDaemon(true);
      t.start();
    }
  }

  public static void main(String[] words) throws IOException {
    if (words[0].equals("nio")) nio(Integer.parseInt(words[1]));
    else threads(Integer.parseInt(words[1]));
  }
}
