//! Several nodes over real TCP.

mod choice;
mod fixture;
mod membership;
mod restart;
mod trouble;
