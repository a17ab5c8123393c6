// Reads a file again and again, in the main thread and then in another. Prints how often that failed: "main other".
import java.io.*;

public class Ledger {
  static int failures(String path, int rounds) {
    int failed = 0;
    for (int i = 0; i < rounds; ++i) {
      try (FileInputStream file = new FileInputStream(path)) {
        file.read();
      } catch (IOException e) {
        ++failed;
      }
    }
    return failed;
  }

  public static void main(String[] words) throws InterruptedException {
    int rounds = Integer.parseInt(words[1]), here = failures(words[0], rounds);
    int[] there = {0};
    Thread other = new Thread(() -> there[0] = failures(words[0], rounds));
    other.start();
    other.join();
    System.out.println(here + " " + there[0]);
  }
}
