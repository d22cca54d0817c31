//! Tests of the language as a whole.

mod evaluation;
mod grammar;
mod groups;
mod laws;
mod planning;
mod support;
