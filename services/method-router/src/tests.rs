//! The service on presence in memory, a gateway made of closures and tokio's paused clock: every
//! row of methods.md §4.1 and the rows of its acceptance list that the router keeps.

mod carrier;
mod outcomes;
mod routing;
mod support;
