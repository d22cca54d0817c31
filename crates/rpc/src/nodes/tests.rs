//! Several nodes over real TCP.

mod choice;
mod fixture;
mod membership;
mod methods;
mod restart;
mod trouble;
