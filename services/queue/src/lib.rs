//! Owns cloud-to-device messages, their states and their feedback.
