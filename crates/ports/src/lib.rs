//! Traits to the outside and the conformance suite of their adapters.
