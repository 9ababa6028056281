// Spring's client against nodes: java -cp LIBRARIES Spring.java PORT_A PORT_B CHANNEL
//
// Connects to one node as a subscriber and to another as a sender, with Spring's converters for texts and for JSON. Prints
// `all is well` at the end.

import java.lang.reflect.Type;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.springframework.messaging.converter.MappingJackson2MessageConverter;
import org.springframework.messaging.converter.MessageConverter;
import org.springframework.messaging.converter.StringMessageConverter;
import org.springframework.messaging.simp.stomp.StompCommand;
import org.springframework.messaging.simp.stomp.StompFrameHandler;
import org.springframework.messaging.simp.stomp.StompHeaders;
import org.springframework.messaging.simp.stomp.StompSession;
import org.springframework.messaging.simp.stomp.StompSessionHandlerAdapter;
import org.springframework.scheduling.concurrent.ThreadPoolTaskScheduler;
import org.springframework.web.socket.WebSocketHttpHeaders;
import org.springframework.web.socket.client.standard.StandardWebSocketClient;
import org.springframework.web.socket.messaging.WebSocketStompClient;

public class Spring {
  static final long WAIT_SECONDS = 20;
  static final BlockingQueue<Object> ERRORS = new LinkedBlockingQueue<>();

  static <T> T within(BlockingQueue<T> queue) throws Exception {
    T next = queue.poll(WAIT_SECONDS, TimeUnit.SECONDS);
    if (next == null) throw new AssertionError("nothing arrived");
    return next;
  }

  static void equal(Object got, Object expected) {
    if (!expected.equals(got)) throw new AssertionError("got " + got + " instead of " + expected);
  }

  static StompSession connect(int port, MessageConverter converter) throws Exception {
    ThreadPoolTaskScheduler scheduler = new ThreadPoolTaskScheduler();
    scheduler.setDaemon(true);
    scheduler.initialize();
    WebSocketStompClient client = new WebSocketStompClient(new StandardWebSocketClient());
    client.setMessageConverter(converter);
    client.setTaskScheduler(scheduler);
    client.setDefaultHeartbeat(new long[] {1000, 1000});
    // Spring's client names no subprotocol by itself.
    WebSocketHttpHeaders handshake = new WebSocketHttpHeaders();
    handshake.setSecWebSocketProtocol(List.of("v12.stomp", "v11.stomp", "v10.stomp"));
    StompSession session = client.connectAsync("ws://127.0.0.1:" + port + "/ws", handshake, new StompSessionHandlerAdapter() {
      @Override
      public void handleFrame(StompHeaders headers, Object payload) {
        ERRORS.add(headers);
      }

      @Override
      public void handleException(StompSession session, StompCommand command, StompHeaders headers, byte[] payload, Throwable error) {
        ERRORS.add(error);
      }
    }).get(WAIT_SECONDS, TimeUnit.SECONDS);
    session.setAutoReceipt(true);
    return session;
  }

  static void receipt(StompSession.Receiptable asked) throws Exception {
    CompletableFuture<Boolean> done = new CompletableFuture<>();
    asked.addReceiptTask(() -> done.complete(true));
    asked.addReceiptLostTask(() -> done.completeExceptionally(new AssertionError("no receipt")));
    done.get(WAIT_SECONDS, TimeUnit.SECONDS);
  }

  static <T> BlockingQueue<T> subscribe(StompSession session, String destination, Class<T> type) throws Exception {
    BlockingQueue<T> messages = new LinkedBlockingQueue<>();
    receipt(session.subscribe(destination, new StompFrameHandler() {
      @Override
      public Type getPayloadType(StompHeaders headers) {
        return type;
      }

      @Override
      public void handleFrame(StompHeaders headers, Object payload) {
        messages.add(type.cast(payload));
      }
    }));
    return messages;
  }

  public static void main(String[] arguments) throws Exception {
    int portA = Integer.parseInt(arguments[0]);
    int portB = Integer.parseInt(arguments[1]);
    String destination = "/topic/" + arguments[2];
    StompSession texts = connect(portB, new StringMessageConverter());
    StompSession objects = connect(portB, new MappingJackson2MessageConverter());
    BlockingQueue<String> gotTexts = subscribe(texts, destination, String.class);
    BlockingQueue<Map> gotObjects = subscribe(objects, destination, Map.class);

    receipt(connect(portA, new MappingJackson2MessageConverter()).send(destination, Map.of("n", 1)));
    equal(within(gotTexts), "{\"n\":1}");
    equal(within(gotObjects), Map.of("n", 1));
    receipt(connect(portA, new StringMessageConverter()).send(destination, "{\"text\":\"é: 🌊\"}"));
    equal(within(gotTexts), "{\"text\":\"é: 🌊\"}");
    equal(within(gotObjects), Map.of("text", "é: 🌊"));
    if (!ERRORS.isEmpty()) throw new AssertionError(ERRORS);

    texts.send("/queue/none", "x");
    StompHeaders error = (StompHeaders) within(ERRORS);
    equal(error.getFirst("code"), "bad_request");
    System.out.println("all is well");
    System.exit(0);
  }
}
