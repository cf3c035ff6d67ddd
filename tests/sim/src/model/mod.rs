//! The model: a small world of the real machines and the real store in memory, in which every order of
//! calls, replies and faults is tried.

mod check;
mod hunt;
mod owner;
mod search;
mod step;
mod world;

pub(crate) use hunt::main;
