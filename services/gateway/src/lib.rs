//! Ends every outside connection: device protocols, REST, AMQP.
