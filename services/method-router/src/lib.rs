//! Routes direct methods to the gateway that holds the device.
