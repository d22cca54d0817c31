"""The SDK's device client with what it hears kept in inboxes."""

import queue

from azure.iot.device import IoTHubDeviceClient, MethodResponse

from hub import PATIENCE


class Device:
    """A device built on the unmodified SDK: it completes messages and answers method calls."""

    def __init__(self, hub, connection_string=None, client=None, **options):
        self.client = client or IoTHubDeviceClient.create_from_connection_string(
            connection_string, server_verification_cert=hub.ca_file.read_text(), **options
        )
        self.messages = queue.Queue()
        self.calls = queue.Queue()
        self.changes = queue.Queue()
        self.states = queue.Queue()
        self.client.on_connection_state_change = lambda: self.states.put(self.client.connected)

    def connect(self):
        self.client.connect()
        return self

    def receive_messages(self):
        self.client.on_message_received = self.messages.put
        return self

    def answer_methods(self, answer):
        """Answers every call with the status and payload that `answer` returns for it."""

        def handle(request):
            self.calls.put(request)
            outcome = answer(request)
            if outcome is not None:
                self.client.send_method_response(
                    MethodResponse.create_from_method_request(request, *outcome)
                )

        self.client.on_method_request_received = handle
        return self

    def follow_desired(self):
        self.client.on_twin_desired_properties_patch_received = self.changes.put
        return self

    def next_message(self, patience=PATIENCE):
        return self.messages.get(timeout=patience)

    def take_messages(self, count):
        return [self.next_message() for _ in range(count)]

    def await_state(self, connected, patience=PATIENCE):
        while self.states.get(timeout=patience) != connected:
            pass

    def close(self):
        self.client.shutdown()
