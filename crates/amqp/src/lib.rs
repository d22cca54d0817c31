//! AMQP 1.0 codec and server engine, without I/O.
