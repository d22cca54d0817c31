//! Several nodes over real TCP.

mod choice;
mod fixture;
mod membership;
mod methods;
mod order;
mod restart;
mod trouble;
