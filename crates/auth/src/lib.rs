//! Credentials and permissions, verified as functions of (credential, now).
