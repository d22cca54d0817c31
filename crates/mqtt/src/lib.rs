//! MQTT 3.1.1 codec and the device session machine, without I/O.
