"""A client on Qpid Proton, a general AMQP library that knows nothing of any hub.

It is driven from the test's own thread: events are handled while a method of it waits, and
whatever is written is on the wire when a method returns.
"""

import base64
import hashlib
import hmac
import time
import urllib.parse
from collections import deque

import cproton
from proton import Delivery, Endpoint, Handler, Message, SSLDomain, Terminus, Timeout
from proton.utils import BlockingConnection, ConnectionClosed

from hub import PATIENCE

CBS_TYPE = "servicebus.windows.net:sastoken"


def token(scope, key, policy=None, ttl=3600):
    """A shared access signature that ends in `ttl` seconds."""
    scope = urllib.parse.quote_plus(scope)
    end = int(time.time() + ttl)
    digest = hmac.digest(base64.b64decode(key), f"{scope}\n{end}".encode(), hashlib.sha256)
    fields = {"sig": base64.b64encode(digest).decode(), "se": end}
    if policy:
        fields["skn"] = policy
    return f"SharedAccessSignature sr={scope}&{urllib.parse.urlencode(fields)}"


def device_token(hub, identity, ttl=3600):
    key = identity.authentication.symmetric_key.primary_key
    return token(f"{hub.host_name}/devices/{identity.device_id}", key, ttl=ttl)


def policy_token(hub, name, ttl=3600):
    fields = dict(part.split("=", 1) for part in hub.policy(name).split(";"))
    return token(hub.host_name, fields["SharedAccessKey"], name, ttl)


class Refused(Exception):
    """The hub did not let a link in, or ended it."""

    def __init__(self, condition):
        super().__init__(str(condition))
        self.condition = condition.name if condition else None
        self.text = condition.description if condition else None


class Client:
    """One connection: SASL PLAIN with a name and a token, ANONYMOUS without.

    Further options are the library's: `sasl_enabled=False` leaves out SASL, `heartbeat=1` asks for
    a frame each second, `max_frame_size=512` for small ones.
    """

    def __init__(self, hub, user=None, password=None, **options):
        trust = SSLDomain(SSLDomain.MODE_CLIENT)
        trust.set_trusted_ca_db(str(hub.ca_file))
        trust.set_peer_authentication(SSLDomain.VERIFY_PEER_NAME)
        self.blocking = BlockingConnection(
            f"amqps://{hub.host_name}:{hub.facts['ports']['amqps']}",
            timeout=PATIENCE,
            ssl_domain=trust,
            user=user,
            password=password,
            allowed_mechs="PLAIN" if user else "ANONYMOUS",
            **options,
        )
        self.cbs = None

    @classmethod
    def of_device(cls, hub, identity, ttl=3600, **options):
        user = f"{identity.device_id}@sas.{hub.host_name.split('.')[0]}"
        return cls(hub, user, device_token(hub, identity, ttl), **options)

    @classmethod
    def of_policy(cls, hub, name, **options):
        user = f"{name}@sas.root.{hub.host_name.split('.')[0]}"
        return cls(hub, user, policy_token(hub, name), **options)

    def sender(self, address, session=None):
        return Sender(self, address, session)

    def receiver(self, address, credit=0, session=None):
        receiver = Receiver(self, address, session)
        if credit:
            receiver.grant(credit)
        return receiver

    def new_session(self):
        session = self.blocking.conn.session()
        session.open()
        return session

    def put_token(self, text, message_id):
        """Shows a token, and returns the hub's reply."""
        if self.cbs is None:
            self.cbs = Pair(self, "$cbs")
        properties = {"operation": "put-token", "type": CBS_TYPE, "name": "any"}
        return self.cbs.ask(Message(id=message_id, body=text, properties=properties))

    def wait(self, probe, what, patience=PATIENCE):
        self.blocking.wait(probe, timeout=patience, msg=what)

    def flush(self):
        """Waits until all that was said is on the wire."""
        transport = self.blocking.conn.transport
        self.wait(lambda: transport.pending() <= 0, "the socket to take what was written")

    def is_still_true(self, claim, seconds=0.3):
        """Says whether `claim` holds for that long, while events are handled."""
        try:
            self.wait(lambda: not claim(), "a claim to break", seconds)
        except Timeout:
            return True
        return False

    def await_close(self):
        """Waits until the hub closes the connection, and returns the condition."""
        try:
            self.wait(lambda: False, "the hub to close the connection")
        except ConnectionClosed as closed:
            return closed.condition

    def close(self):
        self.blocking.close()


class Link(Handler):
    """What senders and receivers share; an end that nobody asked for is kept as `ending`."""

    def __init__(self, client, make, session, address, far_end):
        self.client = client
        self.ending = None
        self.is_ended = False
        blocking = client.blocking
        self.link = make(session or blocking.conn, address, handler=self)
        client.wait(lambda: not self.link.state & Endpoint.REMOTE_UNINIT, f"a link to {address}")
        if far_end(self.link).type == Terminus.UNSPECIFIED:
            # A refusal is an attach without that end, and then a detach which says why.
            self.await_end()
        if self.is_ended:
            raise Refused(self.ending)

    def on_link_remote_close(self, event):
        self.ending = event.link.remote_condition
        self.is_ended = True
        event.link.close()

    on_link_remote_detach = on_link_remote_close

    def await_end(self, patience=PATIENCE):
        """Waits until the hub ends the link, and returns the condition."""
        self.client.wait(lambda: self.is_ended, "the hub to end the link", patience)
        return self.ending and self.ending.name

    def close(self):
        self.link.close()
        self.client.wait(lambda: self.is_ended, "the hub to answer the detach")


class Outcome:
    """The hub's last word on a message that was sent."""

    def __init__(self, delivery):
        self.state = delivery.remote_state
        error = delivery.remote.condition
        self.condition = error.name if error else None
        self.number = error.info.get("com.microsoft:error-code") if error and error.info else None


class Sender(Link):
    def __init__(self, client, address, session=None):
        make = client.blocking.container.create_sender
        super().__init__(client, make, session, address, lambda link: link.remote_target)

    def send(self, message):
        """Sends a message and waits for the hub's word on it."""
        return self.send_all([message])[0]

    def send_all(self, messages):
        """Sends messages as credit allows, without waiting for words in between."""
        deliveries = []
        for message in messages:
            self.await_that(lambda: self.link.credit > 0, "credit to send")
            deliveries.append(self.link.send(message))
        self.await_that(lambda: all(sent.settled for sent in deliveries), "the hub's word")
        outcomes = [Outcome(delivery) for delivery in deliveries]
        for delivery in deliveries:
            delivery.settle()
        return outcomes

    def await_that(self, probe, what):
        self.client.wait(lambda: probe() or self.is_ended, what)
        if self.is_ended:
            raise Refused(self.ending)


class Arrived:
    """A message the hub has sent, and the words one may have on it."""

    def __init__(self, client, delivery):
        self.client = client
        self.delivery = delivery
        # The library's own way to the tag takes it for text.
        self.tag = cproton.bytes2pybytes(cproton.lib.pn_delivery_tag(delivery._impl))
        self.is_settled = delivery.settled
        self.message = read(delivery)

    @property
    def body(self):
        return bytes(self.message.body)

    @property
    def count(self):
        return self.message.annotations["iothub-deliverycount"]

    def accept(self):
        self.say(Delivery.ACCEPTED)

    def release(self):
        self.say(Delivery.RELEASED)

    def reject(self):
        self.say(Delivery.REJECTED)

    def modify(self, undeliverable):
        self.delivery.local.failed = True
        self.delivery.local.undeliverable = undeliverable
        self.say(Delivery.MODIFIED)

    def say(self, state):
        """Settles with a word that waits for no answer."""
        self.delivery.update(state)
        self.delivery.settle()
        self.client.flush()

    def ask(self, state):
        """Says a word, and returns the hub's answer to it."""
        self.delivery.update(state)
        self.client.wait(lambda: self.delivery.settled, "the hub to settle")
        outcome = Outcome(self.delivery)
        self.delivery.settle()
        return outcome


def read(delivery):
    """Reads the message of a delivery that has come whole."""
    link = delivery.link
    message = Message()
    message.decode(link.recv(delivery.pending))
    link.advance()
    return message


class Receiver(Link):
    def __init__(self, client, address, session=None):
        self.inbox = deque()
        make = client.blocking.container.create_receiver
        super().__init__(client, make, session, address, lambda link: link.remote_source)

    def on_delivery(self, event):
        if event.delivery.readable and not event.delivery.partial:
            self.inbox.append(Arrived(self.client, event.delivery))

    def grant(self, credit):
        self.link.flow(credit)
        self.client.flush()

    def drain(self, credit):
        """Grants credit for what is there now; returns once the hub has given back the rest."""
        self.link.drain(credit)
        self.client.wait(lambda: not self.link.draining(), "the link to be drained")
        return self.link.drained()

    def next(self, patience=PATIENCE):
        self.client.wait(lambda: self.inbox or self.is_ended, "a message", patience)
        if not self.inbox:
            raise Refused(self.ending)
        return self.inbox.popleft()

    def take(self, count):
        return [self.next() for _ in range(count)]

    def is_silent(self):
        return self.client.is_still_true(lambda: not self.inbox and not self.is_ended)


class Pair:
    """A sender and a receiver of one address, for requests and their replies."""

    def __init__(self, client, address, session=None):
        self.receiver = client.receiver(address, 10, session)
        self.sender = client.sender(address, session)

    def ask(self, request):
        """Sends a request and returns the next message."""
        assert self.sender.send(request).state == Delivery.ACCEPTED
        return self.receiver.next().message
