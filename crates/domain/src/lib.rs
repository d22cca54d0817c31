//! Pure rules: identities, messages, methods, twins, presence.
