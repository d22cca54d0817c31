package downlink.support;

import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/**
 * A network that can break: it carries bytes between clients and a hub until it is told to cut.
 *
 * <p>The SDKs fix their ports, so it listens on the ports of the hub, on the address of
 * {@link Hubs#CUT_NAME}.
 */
public final class Cutter implements AutoCloseable {
    private static final int[] PORTS = {8883, 5671, 443};

    private final List<ServerSocket> doors = new ArrayList<>();
    private final Set<Socket> open = ConcurrentHashMap.newKeySet();
    private volatile boolean isDown;

    /** Starts carrying bytes to that hub. */
    public Cutter(Hub hub) throws IOException {
        InetAddress here = InetAddress.getByName(Hub.addressOf(Hubs.CUT_NAME));
        for (int port : PORTS) {
            ServerSocket door = new ServerSocket(port, 64, here);
            doors.add(door);
            InetSocketAddress there = new InetSocketAddress(hub.address(), port);
            run(() -> accept(door, there));
        }
    }

    /** Breaks every connection at once, without a goodbye; new ones are carried again. */
    public void cut() {
        for (Socket socket : open) {
            drop(socket);
        }
    }

    /** Breaks every connection and each new one, until {@link #up}. */
    public void down() {
        isDown = true;
        cut();
    }

    /** Ends what {@link #down} began. */
    public void up() {
        isDown = false;
    }

    private void accept(ServerSocket door, InetSocketAddress there) {
        while (!door.isClosed()) {
            try {
                Socket client = door.accept();
                if (isDown) {
                    drop(client);
                    continue;
                }
                Socket hub = new Socket();
                open.add(client);
                open.add(hub);
                hub.connect(there);
                run(() -> carry(client, hub));
                run(() -> carry(hub, client));
            } catch (IOException gone) {
                // The door was closed, or this one connection was lost at its beginning.
            }
        }
    }

    private void carry(Socket from, Socket to) {
        try {
            from.getInputStream().transferTo(to.getOutputStream());
            to.shutdownOutput();
        } catch (IOException broken) {
            drop(from);
            drop(to);
        }
        if (from.isOutputShutdown() || to.isInputShutdown()) {
            drop(from);
            drop(to);
        }
    }

    private void drop(Socket socket) {
        open.remove(socket);
        try {
            // A reset, as when a machine in between forgets the connection.
            socket.setSoLinger(true, 0);
            socket.close();
        } catch (IOException alreadyGone) {
            // That is what was wanted.
        }
    }

    private static void run(Runnable work) {
        Thread thread = new Thread(work, "cutter");
        thread.setDaemon(true);
        thread.start();
    }

    @Override
    public void close() throws IOException {
        for (ServerSocket door : doors) {
            door.close();
        }
        cut();
    }
}
