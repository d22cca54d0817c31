package downlink.support;

import com.azure.core.credential.TokenCredential;
import com.microsoft.azure.sdk.iot.service.messaging.AcknowledgementType;
import com.microsoft.azure.sdk.iot.service.messaging.FeedbackBatch;
import com.microsoft.azure.sdk.iot.service.messaging.FeedbackRecord;
import com.microsoft.azure.sdk.iot.service.messaging.IotHubServiceClientProtocol;
import com.microsoft.azure.sdk.iot.service.messaging.MessageFeedbackProcessorClient;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** Reads feedback through the SDK's processor, completes each batch and keeps the records. */
public final class Feedback implements AutoCloseable {
    private final Map<String, CompletableFuture<FeedbackRecord>> records =
        new ConcurrentHashMap<>();
    private final MessageFeedbackProcessorClient client;

    /** Starts reading. */
    public Feedback(Hub hub, IotHubServiceClientProtocol transport) throws Exception {
        client = new MessageFeedbackProcessorClient(hub.policy("service"), transport, this::keep);
        client.start();
    }

    /** Starts reading with tokens of an issuer. */
    public Feedback(Hub hub, TokenCredential credential, IotHubServiceClientProtocol transport)
            throws Exception {
        client = new MessageFeedbackProcessorClient(
            hub.hostName(), credential, transport, this::keep);
        client.start();
    }

    /** The record of one message. */
    public FeedbackRecord about(String messageId) throws Exception {
        try {
            return recordOf(messageId).get(Waiting.PATIENCE.toMillis(), TimeUnit.MILLISECONDS);
        } catch (TimeoutException silence) {
            throw new AssertionError("no feedback came of message " + messageId, silence);
        }
    }

    /** Says whether there is a record of that message already. */
    public boolean knows(String messageId) {
        return recordOf(messageId).isDone();
    }

    private AcknowledgementType keep(FeedbackBatch batch) {
        for (FeedbackRecord record : batch.getRecords()) {
            recordOf(record.getOriginalMessageId()).complete(record);
        }
        return AcknowledgementType.COMPLETE;
    }

    private CompletableFuture<FeedbackRecord> recordOf(String messageId) {
        return records.computeIfAbsent(messageId, id -> new CompletableFuture<>());
    }

    @Override
    public void close() throws InterruptedException {
        client.stop(Waiting.GOODBYE);
    }
}
